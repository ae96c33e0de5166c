//===- Artifact.cpp - The contents of an artifact -------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Artifact.h"

#include "qlinear/Dialect/QLinear.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Host.h"

using namespace llvm;

namespace qlinear {

// The bytes "QLINEAR1", read as a little-endian integer.
static constexpr uint64_t kMagic = 0x315241454E494C51;

std::string cIdentifier(StringRef name) {
  // Frontends give a function without a name this one, which no library can export.
  if (name == "main")
    return "main_";
  std::string result;
  for (char c : name)
    result += isAlnum(c) || c == '_' ? c : '_';
  if (result.empty() || isDigit(result.front()))
    result = "_" + result;
  return result;
}

std::string whyNotExported(StringRef name) {
  if (name.empty())
    return "it has no name";
  std::string symbol = cIdentifier(name);
  static const StringSet<> keywords = {// C, and C++, which includes the header as well.
                                       "alignas",
                                       "alignof",
                                       "and",
                                       "and_eq",
                                       "asm",
                                       "auto",
                                       "bitand",
                                       "bitor",
                                       "bool",
                                       "break",
                                       "case",
                                       "catch",
                                       "char",
                                       "char16_t",
                                       "char32_t",
                                       "char8_t",
                                       "class",
                                       "co_await",
                                       "co_return",
                                       "co_yield",
                                       "compl",
                                       "concept",
                                       "const",
                                       "const_cast",
                                       "consteval",
                                       "constexpr",
                                       "constinit",
                                       "continue",
                                       "decltype",
                                       "default",
                                       "delete",
                                       "do",
                                       "double",
                                       "dynamic_cast",
                                       "else",
                                       "enum",
                                       "explicit",
                                       "export",
                                       "extern",
                                       "false",
                                       "float",
                                       "for",
                                       "friend",
                                       "goto",
                                       "if",
                                       "inline",
                                       "int",
                                       "long",
                                       "mutable",
                                       "namespace",
                                       "new",
                                       "noexcept",
                                       "not",
                                       "not_eq",
                                       "nullptr",
                                       "operator",
                                       "or",
                                       "or_eq",
                                       "private",
                                       "protected",
                                       "public",
                                       "register",
                                       "reinterpret_cast",
                                       "requires",
                                       "restrict",
                                       "return",
                                       "short",
                                       "signed",
                                       "sizeof",
                                       "static",
                                       "static_assert",
                                       "static_cast",
                                       "struct",
                                       "switch",
                                       "template",
                                       "this",
                                       "thread_local",
                                       "throw",
                                       "true",
                                       "try",
                                       "typedef",
                                       "typeid",
                                       "typename",
                                       "typeof",
                                       "typeof_unqual",
                                       "union",
                                       "unsigned",
                                       "using",
                                       "virtual",
                                       "void",
                                       "volatile",
                                       "wchar_t",
                                       "while",
                                       "xor",
                                       "xor_eq"};
  if (keywords.contains(symbol))
    return "'" + symbol + "' is a word of C or C++";
  Triple triple(sys::getDefaultTargetTriple());
  TargetLibraryInfoImpl library(triple);
  LibFunc known;
  if (library.getLibFunc(symbol, known) || library.getLibFunc(name, known))
    return "'" + symbol + "' is a function of the C library, or its entry";
  if (StringRef(symbol).starts_with("qlr_") || symbol == "_init" || symbol == "_fini" ||
      symbol == "_start" || StringRef(symbol).starts_with("__"))
    return "'" + symbol + "' belongs to the runtime or the C library";
  if (name.size() > 1000)
    return "its name has " + std::to_string(name.size()) +
           " characters, more than 1000";
  return "";
}

static GlobalVariable *addData(Module &module, ArrayRef<char> data, unsigned align) {
  Constant *bytes =
      ConstantDataArray::getRaw(StringRef(data.data(), data.size()), data.size(),
                                Type::getInt8Ty(module.getContext()));
  auto *global = new GlobalVariable(module, bytes->getType(), true,
                                    GlobalValue::PrivateLinkage, bytes, "data");
  global->setAlignment(Align(align));
  return global;
}

/// NAME(module, workspace, inputs, outputs, stream) calls qlr_call, adding
/// what the compiler knows: the function's index and the numbers of tensors.
static void addExportedFunction(Module &module, mlir::func::FuncOp function,
                                unsigned index) {
  LLVMContext &context = module.getContext();
  auto *pointer = PointerType::get(context, 0);
  auto *i32 = Type::getInt32Ty(context);
  FunctionCallee call = module.getOrInsertFunction(
      "qlr_call",
      FunctionType::get(
          i32, {pointer, i32, pointer, pointer, i32, pointer, i32, pointer}, false));
  auto *exported = Function::Create(
      FunctionType::get(i32, {pointer, pointer, pointer, pointer, pointer}, false),
      GlobalValue::ExternalLinkage, cIdentifier(function.getName()), module);
  IRBuilder<> b(BasicBlock::Create(context, "", exported));
  auto arg = [&](unsigned i) { return exported->getArg(i); };
  b.CreateRet(b.CreateCall(call, {arg(0), b.getInt32(index), arg(1), arg(2),
                                  b.getInt32(function.getNumArguments()), arg(3),
                                  b.getInt32(function.getNumResults()), arg(4)}));
}

std::unique_ptr<Module> buildDescriptor(LLVMContext &context, StringRef manifest,
                                        ArrayRef<ArtifactImage> images,
                                        ArrayRef<mlir::func::FuncOp> functions) {
  auto module = std::make_unique<Module>("qlinear_artifact", context);
  auto *pointer = PointerType::get(context, 0);
  auto *i64 = Type::getInt64Ty(context);
  auto text = [&](StringRef string) {
    std::string terminated = (string + StringRef("\0", 1)).str();
    return addData(*module, ArrayRef<char>(terminated.data(), terminated.size()), 1);
  };

  auto *imageType = StructType::get(pointer, pointer, i64);
  SmallVector<Constant *> entries;
  for (const ArtifactImage &image : images) {
    Constant *data;
    if (image.symbol.empty()) {
      data = addData(*module, image.data, image.align);
    } else {
      auto *function =
          Function::Create(FunctionType::get(Type::getVoidTy(context), true),
                           GlobalValue::ExternalLinkage, image.symbol, *module);
      function->setVisibility(GlobalValue::HiddenVisibility);
      data = function;
    }
    entries.push_back(ConstantStruct::get(
        imageType, {text(image.name), data, ConstantInt::get(i64, image.data.size())}));
  }
  auto *arrayType = ArrayType::get(imageType, entries.size());
  auto *array =
      new GlobalVariable(*module, arrayType, true, GlobalValue::PrivateLinkage,
                         ConstantArray::get(arrayType, entries), "images");
  Constant *descriptor =
      ConstantStruct::getAnon({ConstantInt::get(i64, kMagic), text(manifest),
                               ConstantInt::get(i64, manifest.size()), array,
                               ConstantInt::get(i64, entries.size())});
  new GlobalVariable(*module, descriptor->getType(), true, GlobalValue::ExternalLinkage,
                     descriptor, "qlinear_artifact");
  for (auto [index, function] : llvm::enumerate(functions))
    addExportedFunction(*module, function, index);
  return module;
}

static std::string describe(mlir::Type type) {
  std::string text;
  raw_string_ostream os(text);
  auto size = [](int64_t n) {
    return mlir::ShapedType::isDynamic(n) ? std::string("M") : std::to_string(n);
  };
  if (auto activations = dyn_cast<mlir::qlinear::ActivationsType>(type)) {
    os << size(activations.getM()) << " x " << activations.getK()
       << " quantized activations (i8 " << size(activations.getM()) << " x "
       << activations.getLayout().bytes() << ")";
  } else if (auto tensor = dyn_cast<mlir::RankedTensorType>(type)) {
    llvm::interleave(tensor.getShape(), os, [&](int64_t n) { os << size(n); }, " x ");
    os << " " << tensor.getElementType();
  } else {
    os << type;
  }
  return text;
}

std::string writeHeader(ArrayRef<mlir::func::FuncOp> functions, StringRef source) {
  std::string text;
  raw_string_ostream os(text);
  os << "/* Compiled by quant-compile from " << source << ".\n"
     << " *\n"
     << " * Tensors are row-major. M is the number of rows of a call, the same in all\n"
     << " * tensors of it. Each function enqueues its work on `stream` (a CUstream;\n"
     << " * ignored on a CPU) and returns QLR_OK or an error, whose message is at\n"
     << " * qlr_last_error(). The workspace must be one of the same function, for at\n"
     << " * least M rows. */\n"
     << "#pragma once\n\n"
     << "#include <qlinear-runtime/artifact.h>\n"
     << "#include <qlinear-runtime/runtime.h>\n\n"
     << "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
     << "/* For qlr_artifact_from_descriptor(). */\n"
     << "extern const qlinear_artifact_v1 qlinear_artifact;\n\n";
  for (mlir::func::FuncOp function : functions) {
    os << "/* " << function.getName() << "\n";
    for (auto [i, type] : llvm::enumerate(function.getArgumentTypes()))
      os << " *   inputs[" << i << "]   " << describe(type) << "\n";
    for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
      os << " *   outputs[" << i << "]  " << describe(type) << "\n";
    os << " */\n"
       << "int " << cIdentifier(function.getName())
       << "(qlr_module *module, qlr_workspace *workspace,\n"
       << "    const qlr_tensor *inputs, const qlr_tensor *outputs, void *stream);\n\n";
  }
  os << "#ifdef __cplusplus\n}\n#endif\n";
  return text;
}

} // namespace qlinear
