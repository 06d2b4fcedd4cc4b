// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

// #include <stddef.h>
// // Weak, as not every C library has it.
// extern int malloc_trim(size_t pad) __attribute__((weak));
// static void trim(void) { if (malloc_trim) malloc_trim(0); }
import "C"

// trimMemory gives what the C library holds for later back to the system. glibc keeps
// freed memory, for each thread that allocated some: without this a runner that swaps
// models grows by the largest of them several times over.
func trimMemory() { C.trim() }
