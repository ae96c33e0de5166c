//===- Call.cpp - Calls on numpy arrays, without ctypes -------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// qlinear/module.py calls functions of artifacts on arrays of any library, and says
// what is wrong with them; for numpy arrays that fit, on a device of the host, this
// does the same in a few hundred nanoseconds. All else it declines, and Python does it:
// there is one place that knows the rules, and one that writes messages.
//
// Of Python it uses the limited API of 3.9, and of numpy that of 1.22, so that one file
// is for all later versions, as the package is.
//
//===----------------------------------------------------------------------===//
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#include <numpy/arrayobject.h>

#include "qlinear-runtime/runtime.h"

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace {

/// An argument as the function was compiled for it. Its rows may be of any number.
struct Spec {
  PyArray_Descr *type;
  qlr_dtype dtype;
  uintptr_t align;
  int rank;
  int64_t shape[4]; ///< of what may vary, the first, -1

  bool isRows() const { return rank > 0 && shape[0] == -1; }
};

struct Workspace {
  int64_t rows;
  PyObject *handle; ///< of Python's, which closes it
  qlr_workspace *value;
};

/// qlinear._call.Call
struct Call {
  PyObject_HEAD decltype(&qlr_call) call;
  qlr_module *module;
  int32_t index;
  int64_t rows; ///< where no argument says it
  bool hasTemps;
  std::vector<Spec> *specs; ///< inputs, then outputs
  size_t inputs;
  std::vector<Workspace> *free; ///< guarded by the GIL
  PyObject *createWorkspace;    ///< rows -> (rows, handle, ...)
  PyObject *check;              ///< status, None, None: raises what the runtime said
};

/// Whether the array is one that the function takes; its shape as the function sees it,
/// and its rows, which are those of the arrays before.
bool fits(const Spec &spec, PyObject *object, bool isWritten, qlr_tensor &tensor,
          int64_t &rows) {
  if (!PyArray_CheckExact(object))
    return false;
  auto *array = reinterpret_cast<PyArrayObject *>(object);
  int wanted = NPY_ARRAY_C_CONTIGUOUS | (isWritten ? NPY_ARRAY_WRITEABLE : 0);
  if (PyArray_DESCR(array) != spec.type || (PyArray_FLAGS(array) & wanted) != wanted)
    return false;
  void *data = PyArray_DATA(array);
  if (reinterpret_cast<uintptr_t>(data) % spec.align)
    return false;
  int rank = PyArray_NDIM(array);
  const npy_intp *shape = PyArray_DIMS(array);
  // All dimensions but the last are rows, where a matrix is wanted.
  int lead = rank - spec.rank;
  if (lead < 0 || (lead > 0 && spec.rank != 2))
    return false;
  tensor.data = data;
  tensor.dtype = spec.dtype;
  tensor.rank = spec.rank;
  for (int i = 0; i < spec.rank; ++i)
    tensor.shape[i] = shape[i + lead];
  for (int i = 0; i < lead; ++i)
    tensor.shape[0] *= shape[i];
  for (int i = spec.isRows() ? 1 : 0; i < spec.rank; ++i)
    if (tensor.shape[i] != spec.shape[i])
      return false;
  if (!spec.isRows())
    return true;
  if (rows < 0)
    rows = tensor.shape[0];
  return rows == tensor.shape[0];
}

void freeMemory(PyObject *capsule) { free(PyCapsule_GetPointer(capsule, nullptr)); }

/// An array for a result, of `rows` rows: with the dimensions of `like` before its
/// last, where those are as many. Aligned as those that Python makes.
PyObject *makeResult(const Spec &spec, int64_t rows, PyArrayObject *like) {
  constexpr size_t kAlign = 64;
  npy_intp shape[NPY_MAXDIMS];
  int rank = spec.rank;
  for (int i = 0; i < rank; ++i)
    shape[i] = spec.shape[i];
  if (spec.isRows())
    shape[0] = rows;
  if (rank == 2 && like) {
    int lead = PyArray_NDIM(like) - 1;
    npy_intp count = 1;
    for (int i = 0; i < lead; ++i)
      count *= PyArray_DIM(like, i);
    if (lead > 0 && count == shape[0]) {
      shape[lead] = spec.shape[1];
      for (int i = 0; i < lead; ++i)
        shape[i] = PyArray_DIM(like, i);
      rank = lead + 1;
    }
  }
  size_t bytes = size_t(PyDataType_ELSIZE(spec.type));
  for (int i = 0; i < rank; ++i)
    bytes *= size_t(shape[i]);
  bytes = (bytes + kAlign - 1) / kAlign * kAlign;
  void *data = aligned_alloc(kAlign, bytes ? bytes : kAlign);
  if (!data)
    return PyErr_NoMemory();
  PyObject *owner = PyCapsule_New(data, nullptr, freeMemory);
  if (!owner) {
    free(data);
    return nullptr;
  }
  Py_INCREF(spec.type);
  PyObject *array = PyArray_NewFromDescr(&PyArray_Type, spec.type, rank, shape, nullptr,
                                         data, NPY_ARRAY_CARRAY, nullptr);
  if (!array) {
    Py_DECREF(owner);
    return nullptr;
  }
  if (PyArray_SetBaseObject(reinterpret_cast<PyArrayObject *>(array), owner) < 0) {
    Py_DECREF(array); // the owner is gone already
    return nullptr;
  }
  return array;
}

/// Scratch memory for `rows` rows: one that no other call uses, or a new one.
bool takeWorkspace(Call *self, int64_t rows, Workspace &out) {
  std::vector<Workspace> &free = *self->free;
  for (size_t i = free.size(); i-- > 0;)
    if (free[i].rows >= rows) {
      out = free[i];
      free.erase(free.begin() + ptrdiff_t(i));
      return true;
    }
  if (!free.empty()) { // a smaller one: it is replaced
    PyObject *handle = free.back().handle;
    free.pop_back();
    Py_DECREF(handle);
  }
  PyObject *made = PyObject_CallFunction(self->createWorkspace, "L", (long long)rows);
  if (!made)
    return false;
  PyObject *count = PyTuple_GetItem(made, 0), *handle = PyTuple_GetItem(made, 1);
  PyObject *value = handle ? PyObject_GetAttrString(handle, "value") : nullptr;
  if (count && value) {
    Py_INCREF(handle);
    out = {PyLong_AsLongLong(count), handle,
           static_cast<qlr_workspace *>(PyLong_AsVoidPtr(value))};
  }
  Py_XDECREF(value);
  Py_DECREF(made);
  return count && value && !PyErr_Occurred();
}

/// (inputs, out): the results, or None for what Python has to do.
PyObject *run(PyObject *object, PyObject *args, PyObject *) {
  auto *self = reinterpret_cast<Call *>(object);
  PyObject *inputs, *out;
  if (!PyArg_ParseTuple(args, "OO", &inputs, &out))
    return nullptr;
  const std::vector<Spec> &specs = *self->specs;
  size_t outputs = specs.size() - self->inputs;
  if (!PyTuple_Check(inputs) || size_t(PyTuple_Size(inputs)) != self->inputs)
    Py_RETURN_NONE;
  std::vector<qlr_tensor> tensors(specs.size());
  int64_t rows = -1;
  PyArrayObject *like = nullptr; // the first matrix
  for (size_t i = 0; i < self->inputs; ++i) {
    PyObject *input = PyTuple_GetItem(inputs, Py_ssize_t(i));
    if (!fits(specs[i], input, false, tensors[i], rows))
      Py_RETURN_NONE;
    if (!like && specs[i].rank == 2)
      like = reinterpret_cast<PyArrayObject *>(input);
  }
  if (rows < 0)
    rows = self->rows;
  if (rows == 0)
    Py_RETURN_NONE;

  // What the caller gives, or new ones. All are ours until the end.
  PyObject *results = PyTuple_New(Py_ssize_t(outputs));
  if (!results)
    return nullptr;
  bool isList = PyTuple_Check(out) || PyList_Check(out);
  if (out != Py_None && size_t(isList ? PySequence_Size(out) : 1) != outputs) {
    Py_DECREF(results);
    Py_RETURN_NONE;
  }
  for (size_t i = 0; i < outputs; ++i) {
    const Spec &spec = specs[self->inputs + i];
    PyObject *result;
    if (out == Py_None)
      result = makeResult(spec, rows, like);
    else if (isList)
      result = PySequence_GetItem(out, Py_ssize_t(i));
    else
      Py_INCREF(result = out);
    if (!result) {
      Py_DECREF(results);
      return nullptr;
    }
    bool isFit = fits(spec, result, true, tensors[self->inputs + i], rows);
    PyTuple_SetItem(results, Py_ssize_t(i), result);
    if (!isFit) {
      Py_DECREF(results);
      Py_RETURN_NONE;
    }
  }

  Workspace workspace{0, nullptr, nullptr};
  if (self->hasTemps && !takeWorkspace(self, rows, workspace)) {
    Py_DECREF(results);
    return nullptr;
  }
  qlr_status status;
  Py_BEGIN_ALLOW_THREADS;
  status = self->call(self->module, self->index, workspace.value, tensors.data(),
                      int32_t(self->inputs), tensors.data() + self->inputs,
                      int32_t(outputs), nullptr);
  // The message is this thread's: nothing else of it runs before it is read.
  Py_END_ALLOW_THREADS;
  if (workspace.handle)
    self->free->push_back(workspace);
  if (status != QLR_OK) {
    PyObject *said =
        PyObject_CallFunction(self->check, "iOO", int(status), Py_None, Py_None);
    Py_XDECREF(said);
    Py_DECREF(results);
    if (said)
      PyErr_SetString(PyExc_RuntimeError, "a call failed without a message");
    return nullptr;
  }
  if (outputs != 1)
    return results;
  PyObject *only = PyTuple_GetItem(results, 0);
  Py_INCREF(only);
  Py_DECREF(results);
  return only;
}

/// From (numpy dtype, number of the ABI, alignment, shape).
bool readSpec(PyObject *entry, Spec &spec) {
  PyObject *type, *shape;
  int dtype;
  unsigned long long align;
  if (!PyArg_ParseTuple(entry, "OiKO!", &type, &dtype, &align, &PyTuple_Type, &shape))
    return false;
  if (!PyArray_DescrCheck(type) || PyTuple_Size(shape) > 4) {
    PyErr_SetString(PyExc_ValueError, "not a type, or of more than four dimensions");
    return false;
  }
  spec.dtype = qlr_dtype(dtype);
  spec.align = uintptr_t(align);
  spec.rank = int(PyTuple_Size(shape));
  for (int i = 0; i < spec.rank; ++i) {
    spec.shape[i] = PyLong_AsLongLong(PyTuple_GetItem(shape, i));
    if (PyErr_Occurred() || (i > 0 && spec.shape[i] < 0)) {
      if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "only the first dimension may vary");
      return false;
    }
  }
  Py_INCREF(type);
  spec.type = reinterpret_cast<PyArray_Descr *>(type);
  return true;
}

int traverse(PyObject *object, visitproc visit, void *arg) {
  auto *self = reinterpret_cast<Call *>(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->createWorkspace);
  Py_VISIT(self->check);
  if (self->free)
    for (const Workspace &w : *self->free)
      Py_VISIT(w.handle);
  return 0;
}

int clear(PyObject *object) {
  auto *self = reinterpret_cast<Call *>(object);
  Py_CLEAR(self->createWorkspace);
  Py_CLEAR(self->check);
  if (self->free) {
    std::vector<Workspace> workspaces;
    workspaces.swap(*self->free);
    for (const Workspace &w : workspaces)
      Py_DECREF(w.handle);
  }
  return 0;
}

void destroy(PyObject *object) {
  auto *self = reinterpret_cast<Call *>(object);
  PyTypeObject *type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  clear(object);
  if (self->specs)
    for (Spec &spec : *self->specs)
      Py_DECREF(spec.type);
  delete self->specs;
  delete self->free;
  auto release = reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free));
  release(object);
  Py_DECREF(type);
}

/// (address of qlr_call, module, index, rows, whether it needs scratch memory, inputs,
/// outputs, makes scratch memory, raises what the runtime said)
int init(PyObject *object, PyObject *args, PyObject *) {
  auto *self = reinterpret_cast<Call *>(object);
  PyObject *call, *module, *inputs, *outputs, *create, *check;
  int hasTemps;
  long long rows;
  if (!PyArg_ParseTuple(args, "OOiLpO!O!OO", &call, &module, &self->index, &rows,
                        &hasTemps, &PyTuple_Type, &inputs, &PyTuple_Type, &outputs,
                        &create, &check))
    return -1;
  self->call = reinterpret_cast<decltype(&qlr_call)>(PyLong_AsVoidPtr(call));
  self->module = static_cast<qlr_module *>(PyLong_AsVoidPtr(module));
  if (PyErr_Occurred())
    return -1;
  if (self->specs || !self->call || !self->module) {
    PyErr_SetString(PyExc_ValueError, "a function that is there, and only once");
    return -1;
  }
  self->rows = rows;
  self->hasTemps = hasTemps != 0;
  self->specs = new std::vector<Spec>;
  self->free = new std::vector<Workspace>;
  Py_INCREF(self->createWorkspace = create);
  Py_INCREF(self->check = check);
  for (PyObject *list : {inputs, outputs})
    for (Py_ssize_t i = 0, n = PyTuple_Size(list); i < n; ++i) {
      Spec spec;
      if (!readSpec(PyTuple_GetItem(list, i), spec))
        return -1;
      self->specs->push_back(spec);
    }
  self->inputs = size_t(PyTuple_Size(inputs));
  return 0;
}

PyType_Slot slots[] = {{Py_tp_call, reinterpret_cast<void *>(run)},
                       {Py_tp_init, reinterpret_cast<void *>(init)},
                       {Py_tp_dealloc, reinterpret_cast<void *>(destroy)},
                       {Py_tp_traverse, reinterpret_cast<void *>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void *>(clear)},
                       {0, nullptr}};
PyType_Spec type = {"qlinear._call.Call", sizeof(Call), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};
PyModuleDef module = {PyModuleDef_HEAD_INIT,
                      "_call",
                      "Calls on numpy arrays.",
                      -1,
                      nullptr,
                      nullptr,
                      nullptr,
                      nullptr,
                      nullptr};

} // namespace

PyMODINIT_FUNC PyInit__call() {
  import_array1(nullptr);
  PyObject *made = PyModule_Create(&module);
  PyObject *call = made ? PyType_FromSpec(&type) : nullptr;
  if (!call || PyModule_AddObject(made, "Call", call) < 0) {
    Py_XDECREF(call);
    Py_XDECREF(made);
    return nullptr;
  }
  return made;
}
