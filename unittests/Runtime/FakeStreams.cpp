//===- FakeStreams.cpp - Copies, streams, graphs, events, launches --------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeState.h"

#include <algorithm>
#include <cstring>

using namespace fakecuda;

static Result copy(Fake &f, void *dst, const void *src, size_t bytes,
                   const void *device, Stream stream) {
  if (!f.inMemory(device, bytes))
    return kInvalidValue;
  return f.submit(stream, [=] {
    std::memcpy(dst, src, bytes);
    return kSuccess;
  });
}
API cuMemcpyHtoDAsync_v2(DevicePtr dst, const void *src, size_t bytes, Stream stream) {
  IN_CONTEXT(cuMemcpyHtoDAsync_v2);
  auto *to = reinterpret_cast<void *>(dst);
  return copy(f, to, src, bytes, to, stream);
}
API cuMemcpyDtoHAsync_v2(void *dst, DevicePtr src, size_t bytes, Stream stream) {
  IN_CONTEXT(cuMemcpyDtoHAsync_v2);
  auto *from = reinterpret_cast<void *>(src);
  return copy(f, dst, from, bytes, from, stream);
}
API cuMemcpyAsync(DevicePtr dst, DevicePtr src, size_t bytes, Stream stream) {
  IN_CONTEXT(cuMemcpyAsync);
  return f.submit(stream, [=] {
    std::memcpy(reinterpret_cast<void *>(dst), reinterpret_cast<void *>(src), bytes);
    return kSuccess;
  });
}
template <typename T>
static Result fill(Fake &f, DevicePtr dst, T value, size_t count, Stream stream) {
  auto *to = reinterpret_cast<T *>(dst);
  if (!f.inMemory(to, count * sizeof(T)))
    return kInvalidValue;
  return f.submit(stream, [=] {
    std::fill_n(to, count, value);
    return kSuccess;
  });
}
API cuMemsetD8Async(DevicePtr dst, unsigned char v, size_t n, Stream s) {
  IN_CONTEXT(cuMemsetD8Async);
  return fill(f, dst, v, n, s);
}
API cuMemsetD16Async(DevicePtr dst, unsigned short v, size_t n, Stream s) {
  IN_CONTEXT(cuMemsetD16Async);
  return fill(f, dst, v, n, s);
}
API cuMemsetD32Async(DevicePtr dst, unsigned v, size_t n, Stream s) {
  IN_CONTEXT(cuMemsetD32Async);
  return fill(f, dst, v, n, s);
}

API cuStreamCreate(Stream *stream, unsigned) {
  IN_CONTEXT(cuStreamCreate);
  *stream = reinterpret_cast<Stream>(f.add("stream", new FakeStream));
  return kSuccess;
}
API cuStreamDestroy_v2(Stream stream) {
  ENTER(cuStreamDestroy_v2);
  return contextStack().empty() ? kInvalidContext : f.remove(entered, "stream", stream);
}
API cuStreamSynchronize(Stream) {
  IN_CONTEXT(cuStreamSynchronize);
  return f.anyCapture() ? kCaptureUnsupported : kSuccess;
}
SUCCEEDS(cuStreamWaitEvent, (Stream, Event, unsigned))
API cuStreamBeginCapture_v2(Stream stream, int) {
  IN_CONTEXT(cuStreamBeginCapture_v2);
  reinterpret_cast<FakeStream *>(stream)->capturing = true;
  return kSuccess;
}
API cuStreamEndCapture(Stream stream, Graph *graph) {
  IN_CONTEXT(cuStreamEndCapture);
  auto *s = reinterpret_cast<FakeStream *>(stream);
  s->capturing = false;
  *graph =
      reinterpret_cast<Graph>(f.add("graph", new FakeGraph{std::move(s->recorded)}));
  s->recorded.clear();
  return kSuccess;
}
API cuGraphInstantiate_v2(GraphExec *exec, Graph graph, void **, char *, size_t) {
  IN_CONTEXT(cuGraphInstantiate_v2);
  *exec = reinterpret_cast<GraphExec>(
      f.add("graphExec", new FakeGraph(*reinterpret_cast<FakeGraph *>(graph))));
  return kSuccess;
}
API cuGraphLaunch(GraphExec exec, Stream) {
  IN_CONTEXT(cuGraphLaunch);
  for (Work &work : reinterpret_cast<FakeGraph *>(exec)->work)
    if (Result r = work(); r != kSuccess)
      return r;
  return kSuccess;
}
API cuGraphExecDestroy(GraphExec exec) {
  ENTER(cuGraphExecDestroy);
  return f.remove(entered, "graphExec", exec);
}
API cuGraphDestroy(Graph graph) {
  ENTER(cuGraphDestroy);
  return f.remove(entered, "graph", graph);
}

API cuEventCreate(Event *event, unsigned) {
  IN_CONTEXT(cuEventCreate);
  *event = reinterpret_cast<Event>(f.add("event", new char));
  return kSuccess;
}
API cuEventDestroy_v2(Event event) {
  ENTER(cuEventDestroy_v2);
  return contextStack().empty() ? kInvalidContext : f.remove(entered, "event", event);
}
SUCCEEDS(cuEventRecord, (Event, Stream))
SUCCEEDS(cuEventSynchronize, (Event))
API cuEventElapsedTime(float *ms, Event, Event) {
  IN_CONTEXT(cuEventElapsedTime);
  *ms = 1;
  return kSuccess;
}

static Result launch(Fake &f, FakeLaunch l, Function function, void **params) {
  auto *fn = reinterpret_cast<FakeFunction *>(function);
  l.kernel = fn->name;
  auto it = f.kernels.find(fn->name);
  if (it == f.kernels.end() || l.grid == 0 || l.block == 0 || l.block > 1024 ||
      int(l.smem) > fn->maxShared)
    return kInvalidValue;
  for (int i = 0; i < it->second.pointers; ++i) {
    l.pointers.push_back(*static_cast<void **>(params[i]));
    if (!f.inMemory(l.pointers.back(), 1)) {
      f.devices[f.current()].sticky = kIllegalAddress;
      return kIllegalAddress;
    }
  }
  l.rows = *static_cast<int32_t *>(params[it->second.pointers]);
  l.params = params;
  FakeCuda::Kernel run = it->second.run;
  return f.submit(static_cast<Stream>(l.stream), [&f, l, run] {
    f.launched.push_back(l);
    run(l);
    return kSuccess;
  });
}
API cuLaunchKernel(Function function, unsigned gx, unsigned, unsigned, unsigned bx,
                   unsigned, unsigned, unsigned smem, Stream stream, void **params,
                   void **) {
  IN_CONTEXT(cuLaunchKernel);
  FakeLaunch l;
  l.grid = gx;
  l.block = bx;
  l.smem = smem;
  l.stream = stream;
  return launch(f, l, function, params);
}
API cuLaunchKernelEx(const LaunchConfig *config, Function function, void **params,
                     void **) {
  IN_CONTEXT(cuLaunchKernelEx);
  FakeLaunch l;
  l.grid = config->gridX;
  l.block = config->blockX;
  l.smem = config->sharedBytes;
  l.stream = config->stream;
  for (unsigned i = 0; i < config->attributeCount; ++i) {
    const LaunchAttribute &a = config->attributes[i];
    if (a.id == kLaunchProgrammaticSerialization)
      l.pdl = a.value.programmaticSerializationAllowed;
    if (a.id == kLaunchClusterDimension)
      l.clusterX = a.value.clusterDim.x;
  }
  return launch(f, l, function, params);
}
