// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// userHz is the unit of times in /proc: 1/100 s on every Linux, whatever the kernel's
// own tick is.
const userHz = 100

// processStart is when the kernel started this process, exact to 10 ms. Loading the
// program and starting Go's runtime are part of the time it takes to be ready, so that
// the clock must not start in main.
func processStart() time.Time {
	at := time.Now()
	var boot unix.Timespec
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return at
	}
	// Fields are counted from after the command, which may hold anything, and ends
	// with the last bracket: state is field 3 of proc(5), starttime field 22.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return at
	}
	ticks, err := strconv.ParseInt(string(fields[22-3]), 10, 64)
	if err != nil {
		return at
	}
	return at.Add(time.Duration(ticks)*time.Second/userHz - time.Duration(boot.Nano()))
}
