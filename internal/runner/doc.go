// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package runner is the agent of one runner pod. A Runner object is its mailbox: it
// reads the assignments in the spec, runs them one after another on the pod's pipeline,
// and reports in the status, which no one else writes.
//
//	watch ──▶ agent ──▶ work (one goroutine per assignment) ──▶ pipeline
//	            │          │
//	            └─▶ ledger ◀┘      what the status is to say, in memory
//	                  │
//	                writer ──▶ Runner.status
//
// The agent's loop alone decides (decide.go, a pure function). The ledger is the single
// truth about the status; the writer makes the API server agree with it, however often
// that takes.
//
// Two rules carry the guarantees. A status is only ever written against the version of
// the Runner that it was decided on, so that a report on an assignment that is gone
// can't appear, and a request that was held up on its way can't undo a later one. And
// work on a phase begins only when the API server has the report that says so, so that
// whatever a crash cuts off has left its trace.
package runner
