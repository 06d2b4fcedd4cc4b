// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import "slices"

// Prefetch says which models the runners named in bound, which were just given a job, bring
// into their caches meanwhile: those that the waiting jobs want, in the order of the queue,
// and that no runner has loaded, will have loaded or brings already. Each such model is
// brought by one runner, so that a thousand runners don't all fetch what one job wants. A
// runner that is to go on bringing a model keeps it.
//
// The jobs are those that wait after Bind, in its order, and the runners have what they will
// have loaded at last, and what they bring. A runner that is missing from the result brings
// nothing.
func Prefetch(jobs []Job, runners []Runner, bound []string) map[string]Model {
	wanted := wantedModels(jobs, runners)
	free := func(r Runner) bool { return slices.Contains(bound, r.Name) }
	brings := map[string]Model{}
	for _, r := range runners {
		at := slices.Index(wanted, r.Prefetched)
		if at < 0 {
			continue
		}
		wanted = slices.Delete(wanted, at, at+1)
		if free(r) {
			brings[r.Name] = r.Prefetched
		}
	}
	for _, r := range runners {
		if _, busy := brings[r.Name]; !busy && free(r) && len(wanted) > 0 {
			brings[r.Name], wanted = wanted[0], wanted[1:]
		}
	}
	return brings
}

// wantedModels are the models of the jobs that no runner has loaded, in the order of the
// jobs.
func wantedModels(jobs []Job, runners []Runner) []Model {
	known := make(map[Model]bool, len(runners))
	for _, r := range runners {
		known[r.Model] = true
	}
	var wanted []Model
	for _, job := range jobs {
		if !known[job.Model] {
			known[job.Model] = true
			wanted = append(wanted, job.Model)
		}
	}
	return wanted
}
