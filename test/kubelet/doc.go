// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubelet runs the manager and its runners under a real kubelet, containerd and runc,
// from images made of this repository's programs, and does to them what happens to pods:
// they are killed, run out of memory, are evicted and deleted, and their node restarts.
//
// It needs Linux, root and cgroup v1, and is run by `make test-e2e` alone. Everything is in
// namespaces of its own (mounts, processes, network, cgroups), so that nothing of the machine
// is changed, and ends with the test, even when that is killed.
//
//	test ──▶ janitor                     outlives the test, removes cgroups and files
//	  └────▶ gate: joins the cgroups
//	           └──▶ init: process 1 of the namespaces
//	                  └──▶ suite: control plane, containerd, kubelet, the tests
package kubelet
