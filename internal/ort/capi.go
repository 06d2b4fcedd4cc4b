// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// Places in ONNX Runtime's table of functions, OrtApi in onnxruntime_c_api.h. New ones
// are only ever added at its end.
enum {
	getErrorMessage = 2,
	createTensorWithData = 49,
	createCPUMemoryInfo = 69,
	releaseStatus = 93,
	releaseValue = 96,
};

typedef struct {
	void *(**(*get)(uint32_t version))(void);
} apiBase;

// The table of functions, and where tensors over the process's own memory are; both
// live as long as the process.
static void *(**api)(void);
static void *memory;

// finish gives nothing for success, and otherwise a message. The status that holds it is
// not released: this happens at most once or twice in a process.
static const char *finish(void *status) {
	return status ? ((const char *(*)(void *))api[getErrorMessage])(status) : NULL;
}

// openAPI finds the table of functions in the library, which is open already.
static const char *openAPI(const char *path) {
	void *library = dlopen(path, RTLD_LAZY);
	if (!library) {
		return dlerror();
	}
	apiBase *(*base)(void) = (apiBase * (*)(void)) dlsym(library, "OrtGetApiBase");
	if (!base) {
		return dlerror();
	}
	api = base()->get(1);
	if (!api) {
		return "version 1 of its API is not there";
	}
	const int arena = 1, defaultType = 0;
	return finish(((void *(*)(int, int, void **))api[createCPUMemoryInfo])(arena, defaultType, &memory));
}

// scalarOver makes a tensor without dimensions over size bytes of data.
static const char *scalarOver(void *data, size_t size, int type, void **value) {
	void *(*create)(void *, void *, size_t, const int64_t *, size_t, int, void **) =
		(void *(*)(void *, void *, size_t, const int64_t *, size_t, int, void **))api[createTensorWithData];
	return finish(create(memory, data, size, NULL, 0, type, value));
}

static void releaseScalar(void *value) {
	((void (*)(void *))api[releaseValue])(value);
}
*/
import "C"

import (
	"errors"
	"unsafe"

	"github.com/x448/float16"
	onnx "github.com/yalue/onnxruntime_go"
)

// openAPI makes ready what the binding to ONNX Runtime lacks: scalars of float16, which
// current exports take as the timestep. It is called once, with the library open.
func openAPI(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if message := C.openAPI(name); message != nil {
		return errors.New(C.GoString(message))
	}
	return nil
}

// scalar16 is a float16 tensor without dimensions. It stands in for a list of one, which
// the binding can build, and hands ONNX Runtime a value of its own.
type scalar16 struct {
	onnx.Value
	internals onnx.ValueInternalData
	value     unsafe.Pointer
}

// The binding's own view of a value is a pointer to ONNX Runtime's, and nothing else.
var _ [unsafe.Sizeof(uintptr(0))]byte = [unsafe.Sizeof(onnx.ValueInternalData{})]byte{}

// newScalar16 makes a scalar over data, which is pinned already, as is the list over it.
func newScalar16(data *float16.Float16, list onnx.Value) (onnx.Value, error) {
	s := &scalar16{Value: list}
	if message := C.scalarOver(unsafe.Pointer(data), C.size_t(unsafe.Sizeof(*data)), C.int(TypeFloat16), &s.value); message != nil {
		release(list)
		return nil, errors.New(C.GoString(message))
	}
	*(*unsafe.Pointer)(unsafe.Pointer(&s.internals)) = s.value
	return s, nil
}

// GetInternals gives ONNX Runtime's value.
func (s *scalar16) GetInternals() *onnx.ValueInternalData { return &s.internals }

// GetShape has no dimensions.
func (s *scalar16) GetShape() onnx.Shape { return onnx.Shape{} }

// Destroy gives the value back, and the list it stands in for.
func (s *scalar16) Destroy() error {
	C.releaseScalar(s.value)
	return s.Value.Destroy()
}
