// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

// #include <stddef.h>
// // Weak, as not every C library has them.
// extern int malloc_trim(size_t pad) __attribute__((weak));
// extern int mallopt(int parameter, int value) __attribute__((weak));
//
// static void trim(void) { if (malloc_trim) malloc_trim(0); }
//
// // glibc's numbers for M_ARENA_MAX and M_MMAP_THRESHOLD.
// enum { arenaMax = -8, mmapThreshold = -3 };
//
// // Before main, as arenas that there are stay.
// __attribute__((constructor)) static void keep_little(void) {
// 	if (!mallopt) return;
// 	mallopt(arenaMax, 1);
// 	mallopt(mmapThreshold, 64 << 10);
// }
import "C"

// trimMemory gives what the C library holds for later back to the system. glibc keeps
// freed memory, for each thread that allocated some: without this a runner that swaps
// models grows by the largest of them several times over.
//
// What can't be given back is what lies between blocks in use. There is less of that with one
// arena for all threads, and with a fixed size from which blocks are mapped and unmapped each
// for itself: glibc otherwise raises that to the largest block freed so far. Tensors come from
// ONNX Runtime's own arena, so that drawing hardly asks the C library.
func trimMemory() { C.trim() }
