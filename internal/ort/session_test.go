// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// open makes a session on the CPU.
func open(t testing.TB, path string) Session {
	t.Helper()
	session, err := openFile(New(Options{Device: CPU}), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	})
	return session
}

// openFile reads a graph and makes a session of it.
func openFile(r Runtime, path string, outputs ...string) (Session, error) {
	graph, err := ReadGraph(path)
	if err != nil {
		return nil, err
	}
	return r.Open(path, graph, outputs...)
}

func TestNewTouchesNothing(t *testing.T) {
	r := New(Options{Library: "/there/is/no/such/library.so"})
	if _, ok := r.Device(); ok {
		t.Error("a device is known before the first session")
	}
}

func TestMissingLibraryIsExplained(t *testing.T) {
	open(t, write(t, []byte(identityModel))) // So that one library is open already.
	_, err := openFile(New(Options{Library: "/there/is/no/such/library.so"}), write(t, []byte(identityModel)))
	if err == nil || !strings.Contains(err.Error(), "/there/is/no/such/library.so") {
		t.Errorf("got %v", err)
	}
	if _, ok := errors.AsType[*GraphError](err); ok {
		t.Errorf("%v blames the graph", err)
	}
}

func TestDeviceSaysWhy(t *testing.T) {
	r := New(Options{})
	session, err := openFile(r, write(t, []byte(identityModel)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	device, ok := r.Device()
	if !ok || device.Message == "" || device.Type != CPU && device.Type != CUDA {
		t.Errorf("device %+v, %v", device, ok)
	}
}

// TestElementsAreConverted runs a graph that casts each kind of input to float32.
func TestElementsAreConverted(t *testing.T) {
	for _, kind := range []ElementType{TypeFloat32, TypeFloat16, TypeFloat64} {
		t.Run("through "+kind.String(), func(t *testing.T) {
			shape := []int64{-1}
			g := Graph{Inputs: []Value{{"x", kind, shape}}, Outputs: []Value{{"y", kind, shape}}}
			session := open(t, write(t, encodeModel(g, node{"Identity", []string{"x"}, []string{"y"}})))
			in, out := []float32{1.5, -2, 0.25}, NewFloat32(3)
			if err := session.Run(t.Context(), map[string]*Tensor{"x": Float32(in, 3)}, map[string]*Tensor{"y": out}); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(out.F32, in) {
				t.Errorf("got %v, want %v", out.F32, in)
			}
		})
	}
	for _, kind := range []ElementType{TypeInt32, TypeInt64, TypeBool, TypeFloat16, TypeFloat32} {
		for name, shape := range map[string][]int64{"list": {1}, "scalar": {}} {
			t.Run(fmt.Sprintf("%s as a %s", kind, name), func(t *testing.T) {
				testConditionInput(t, kind, shape)
			})
		}
	}
}

// testConditionInput runs a graph that gives 2x where its input t is above zero and x
// elsewhere, so that t can be of any kind.
func testConditionInput(t *testing.T, kind ElementType, shape []int64) {
	g := Graph{
		Inputs:  []Value{{"x", TypeFloat32, []int64{-1}}, {"t", kind, shape}},
		Outputs: []Value{{"y", TypeFloat32, []int64{-1}}},
	}
	nodes := []node{{"Add", []string{"x", "x"}, []string{"twice"}}}
	condition := "t"
	if kind != TypeBool {
		nodes = append(nodes, node{"Sub", []string{"t", "t"}, []string{"zero"}}, node{"Greater", []string{"t", "zero"}, []string{"above"}})
		condition = "above"
	}
	nodes = append(nodes, node{"Where", []string{condition, "twice", "x"}, []string{"y"}})
	session := open(t, write(t, encodeModel(g, nodes...)))
	for _, c := range []struct {
		t    *Tensor
		want float32
	}{{Float32([]float32{1}, shape...), 6}, {Float32([]float32{0}, shape...), 3}, {Int64([]int64{7}, shape...), 6}} {
		out := NewFloat32(1)
		in := map[string]*Tensor{"x": Float32([]float32{3}, 1), "t": c.t}
		if err := session.Run(t.Context(), in, map[string]*Tensor{"y": out}); err != nil {
			t.Fatal(err)
		}
		if out.F32[0] != c.want {
			t.Errorf("%+v gave %v, want %v", c.t, out.F32[0], c.want)
		}
	}
}

// TestScalarFloat16 runs a graph of one number without dimensions in and out, many times
// over, as the binding to ONNX Runtime has no such tensors of its own.
func TestScalarFloat16(t *testing.T) {
	g := Graph{Inputs: []Value{{"x", TypeFloat16, []int64{}}}, Outputs: []Value{{"y", TypeFloat16, []int64{}}}}
	session := open(t, write(t, encodeModel(g, node{"Add", []string{"x", "x"}, []string{"y"}})))
	for i := range 1000 {
		out := NewFloat32()
		if err := session.Run(t.Context(), map[string]*Tensor{"x": Float32([]float32{float32(i)})}, map[string]*Tensor{"y": out}); err != nil {
			t.Fatal(err)
		}
		if out.F32[0] != float32(2*i) {
			t.Fatalf("twice %d is %v", i, out.F32[0])
		}
	}
}

func TestRunNamesWhatIsWrong(t *testing.T) {
	session := open(t, tinyModel+"vae_decoder/model.onnx")
	latents, pixels := NewFloat32(1, 4, 2, 2), NewFloat32(1, 3, 4, 4)
	for name, c := range map[string]struct {
		in, out map[string]*Tensor
		want    string
	}{
		"missing input":  {nil, map[string]*Tensor{"sample": pixels}, "input latent_sample"},
		"unknown input":  {map[string]*Tensor{"latent_sample": latents, "x": latents}, map[string]*Tensor{"sample": pixels}, "latent_sample"},
		"missing output": {map[string]*Tensor{"latent_sample": latents}, nil, "output sample"},
		"rank":           {map[string]*Tensor{"latent_sample": NewFloat32(4)}, map[string]*Tensor{"sample": pixels}, "[-1 4 -1 -1]"},
		"fixed size":     {map[string]*Tensor{"latent_sample": NewFloat32(1, 5, 2, 2)}, map[string]*Tensor{"sample": pixels}, "[1 5 2 2]"},
		"no data":        {map[string]*Tensor{"latent_sample": {Shape: []int64{1, 4, 2, 2}}}, map[string]*Tensor{"sample": pixels}, "either"},
		"too little":     {map[string]*Tensor{"latent_sample": Float32([]float32{1}, 1, 4, 2, 2)}, map[string]*Tensor{"sample": pixels}, "16 elements"},
		"integer output": {map[string]*Tensor{"latent_sample": latents}, map[string]*Tensor{"sample": Int64(make([]int64, 48), 1, 3, 4, 4)}, "not supported"},
		"output shape":   {map[string]*Tensor{"latent_sample": latents}, map[string]*Tensor{"sample": NewFloat32(1, 3, 8, 8)}, ""},
		"empty":          {map[string]*Tensor{"latent_sample": NewFloat32(0, 4, 2, 2)}, map[string]*Tensor{"sample": pixels}, "no elements"},
	} {
		t.Run(name, func(t *testing.T) {
			err := session.Run(t.Context(), c.in, c.out)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to contain %q", err, c.want)
			}
		})
	}
	if err := session.Err(); err != nil {
		t.Errorf("a wrong call broke the session: %v", err)
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	whole, err := os.ReadFile(tinyModel + "unet/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte{}, whole...)
	for i := range 200 {
		flipped[1000+i] ^= 0x55
	}
	for name, data := range map[string][]byte{"truncated": whole[:len(whole)/2], "flipped bits": flipped} {
		if _, err := ReadGraph(write(t, data)); err == nil {
			t.Errorf("%s: the graph was read", name)
		}
	}
	for name, data := range map[string][]byte{"unknown operation": encodeModel(
		Graph{Inputs: []Value{{"x", TypeFloat32, nil}}, Outputs: []Value{{"y", TypeFloat32, nil}}}, node{"NoSuchOperation", []string{"x"}, []string{"y"}})} {
		t.Run(name, func(t *testing.T) {
			_, err := openFile(New(Options{Device: CPU}), write(t, data))
			if _, ok := errors.AsType[*GraphError](err); !ok {
				t.Errorf("got %v, want a GraphError", err)
			}
		})
	}
	if _, err := openFile(New(Options{Device: CPU}), tinyModel+"unet/model.onnx", "nothing"); err == nil || !strings.Contains(err.Error(), `"out_sample"`) {
		t.Errorf("an unknown output: %v", err)
	}
}

// TestRunEndsWithItsContext stops a graph that would compute for many seconds.
func TestRunEndsWithItsContext(t *testing.T) {
	const size, count = 1024, 2000
	square := []int64{size, size}
	nodes := make([]node, 0, count)
	last := "x"
	for i := range count {
		next := "x" + strconv.Itoa(i)
		nodes = append(nodes, node{"MatMul", []string{last, last}, []string{next}})
		last = next
	}
	g := Graph{Inputs: []Value{{"x", TypeFloat32, square}}, Outputs: []Value{{last, TypeFloat32, square}}}
	session := open(t, write(t, encodeModel(g, nodes...)))
	in, out := map[string]*Tensor{"x": NewFloat32(size, size)}, map[string]*Tensor{last: NewFloat32(size, size)}

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := session.Run(ctx, in, out)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	// One multiplication takes some 30 ms, all of them a minute.
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v to end", took)
	}
	if err := session.Run(ctx, in, out); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context that is done: %v", err)
	}
	if err := session.Err(); err != nil {
		t.Errorf("cancelling broke the session: %v", err)
	}
}

func TestClosedSessionSaysSo(t *testing.T) {
	session := open(t, write(t, []byte(identityModel)))
	if err := session.Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := session.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !errors.Is(session.Err(), errClosed) {
		t.Errorf("Err gives %v", session.Err())
	}
	x := map[string]*Tensor{"x": NewFloat32(1)}
	if err := session.Run(t.Context(), x, map[string]*Tensor{"y": NewFloat32(1)}); !errors.Is(err, errClosed) {
		t.Errorf("Run gives %v", err)
	}
}

func TestDeviceLost(t *testing.T) {
	for text, want := range map[string]bool{
		"CUDA failure 700: an illegal memory access was encountered": true,
		"CUDA failure 2: out of memory":                              false,
		"Non-zero status code returned while running Add node":       false,
	} {
		if got := deviceLost(errors.New(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestMemoryComesBack loads, runs and drops a network many times over, on goroutines that
// wander over threads as a runner's do.
func TestMemoryComesBack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	const model = "../../test/testdata/models/fluent-emoji/unet/model.onnx"
	open(t, write(t, []byte(identityModel))) // Opens the library, which stays.
	before := residentMemory(t)
	for range 5 {
		var group sync.WaitGroup
		group.Go(func() { cycle(t, model) })
		group.Wait()
	}
	// The network takes some 40 MB. What stays is ONNX Runtime's own: kernels, schemas.
	if grown := residentMemory(t) - before; grown > 30<<20 {
		t.Errorf("loading and dropping a model five times left %d MB behind", grown>>20)
	}
}

// TestMemoryStaysThroughSwaps swaps between networks of two models many times over. What
// stays is ONNX Runtime's own, 13 to 24 MB; without trimMemory it was 42 to 46.
func TestMemoryStaysThroughSwaps(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	const swaps, own = 50, 34 << 20
	open(t, write(t, []byte(identityModel))) // Opens the library, which stays.
	before := residentMemory(t)
	for i := range swaps {
		var group sync.WaitGroup // On goroutines that wander over threads, as a runner's do.
		group.Go(func() {
			for _, part := range []string{"text_encoder", "vae_decoder"} {
				session, err := openFile(New(Options{Device: CPU}), "../../test/testdata/models/"+[]string{"tiny/", "fluent-emoji/"}[i%2]+part+"/model.onnx")
				if err != nil {
					t.Error(err)
					return
				}
				if err := session.Close(); err != nil {
					t.Error(err)
				}
			}
		})
		group.Wait()
	}
	if grown := residentMemory(t) - before; grown > own {
		t.Errorf("%d swaps left %d MB behind", swaps, grown>>20)
	}
}

// cycle opens, runs and closes the demo model's denoising network.
func cycle(t *testing.T, model string) {
	session, err := openFile(New(Options{Device: CPU}), model)
	if err != nil {
		t.Error(err)
		return
	}
	in := map[string]*Tensor{"sample": NewFloat32(1, 4, 16, 16), "timestep": NewFloat32(), "encoder_hidden_states": NewFloat32(1, 77, 192)}
	if err := session.Run(t.Context(), in, map[string]*Tensor{"out_sample": NewFloat32(1, 4, 16, 16)}); err != nil {
		t.Error(err)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
}

// residentMemory is the process's resident set in bytes, after a collection.
func residentMemory(t *testing.T) int64 {
	t.Helper()
	runtime.GC()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

func TestFindLibrary(t *testing.T) {
	t.Run("environment", func(t *testing.T) {
		t.Setenv(LibraryEnv, "/somewhere/libonnxruntime.so")
		if got := findLibrary(); got != "/somewhere/libonnxruntime.so" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("module", func(t *testing.T) {
		t.Setenv(LibraryEnv, "")
		root := t.TempDir()
		folder := filepath.Join(root, developmentFolder)
		below := filepath.Join(root, "a", "b")
		for _, f := range []string{folder, below} {
			if err := os.MkdirAll(f, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range []string{filepath.Join(root, "go.mod"), filepath.Join(folder, libraryName())} {
			if err := os.WriteFile(f, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Chdir(below)
		if got := findLibrary(); got != filepath.Join(folder, libraryName()) {
			t.Errorf("got %s", got)
		}
	})
	t.Run("loader", func(t *testing.T) {
		t.Setenv(LibraryEnv, "")
		t.Chdir(t.TempDir())
		if got := findLibrary(); got != libraryName() {
			t.Errorf("got %s", got)
		}
	})
}

// TestWeightsOfLinkedFiles loads a graph and weights that are links into another folder,
// as Hugging Face's cache has them.
func TestWeightsOfLinkedFiles(t *testing.T) {
	dir := t.TempDir()
	model := encodeModel(
		Graph{Inputs: []Value{{"x", TypeFloat32, []int64{2}}}, Outputs: []Value{{"y", TypeFloat32, []int64{2}}}},
		node{"Add", []string{"x", "w"}, []string{"y"}})
	// Fields of one message that come twice are one.
	model = message(model, modelGraph, message(nil, graphInitializer, externalTensor("w", "model.onnx_data", 2)))
	for name, data := range map[string][]byte{"blobs/1": model, "blobs/2": raw(10, 20)} {
		writeAt(t, filepath.Join(dir, name), data)
	}
	unet := filepath.Join(dir, "snapshots", "main", "unet")
	if err := os.MkdirAll(unet, 0o700); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"model.onnx": "../../../blobs/1", "model.onnx_data": "../../../blobs/2"} {
		if err := os.Symlink(to, filepath.Join(unet, link)); err != nil {
			t.Fatal(err)
		}
	}
	session := open(t, filepath.Join(unet, "model.onnx"))
	y := NewFloat32(2)
	if err := session.Run(t.Context(), map[string]*Tensor{"x": Float32([]float32{1, 2}, 2)}, map[string]*Tensor{"y": y}); err != nil {
		t.Fatal(err)
	}
	if y.F32[0] != 11 || y.F32[1] != 22 {
		t.Errorf("got %v", y.F32)
	}
}

// writeAt writes a file and makes its folder.
func writeAt(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
