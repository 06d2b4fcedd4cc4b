// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

func TestPrefetch(t *testing.T) {
	model := func(name string) Model { return Model{UID: types.UID(name)} }
	queue := func(models ...string) []Job {
		var jobs []Job
		for i, name := range models {
			jobs = append(jobs, Job{UID: types.UID(rune('a' + i)), Model: model(name)})
		}
		return jobs
	}
	runner := func(name, loaded, brings string) Runner {
		return Runner{Name: name, Model: model(loaded), Prefetched: model(brings)}
	}
	all := []string{"0", "1", "2"}
	for name, c := range map[string]struct {
		waiting []Job
		runners []Runner
		bound   []string
		want    map[string]Model
	}{
		"nothing waits": {nil, []Runner{runner("0", "cat", "")}, all, map[string]Model{}},
		"what is loaded somewhere is not brought": {queue("cat"), []Runner{runner("0", "dog", ""), runner("1", "cat", "")}, all,
			map[string]Model{}},
		"each model once, in the order of the queue": {queue("cat", "cat", "owl"), []Runner{runner("0", "dog", ""), runner("1", "dog", ""), runner("2", "dog", "")}, all,
			map[string]Model{"0": model("cat"), "1": model("owl")}},
		"what another brings is left to it": {queue("cat", "owl"), []Runner{runner("0", "dog", "cat"), runner("1", "dog", "")}, []string{"1"},
			map[string]Model{"1": model("owl")}},
		"who brings a model goes on": {queue("cat", "owl"), []Runner{runner("0", "dog", ""), runner("1", "dog", "cat")}, all,
			map[string]Model{"0": model("owl"), "1": model("cat")}},
		"who has brought what nobody wants now takes another": {queue("owl"), []Runner{runner("0", "dog", "cat")}, all,
			map[string]Model{"0": model("owl")}},
		"only who was given a job": {queue("cat"), []Runner{runner("0", "dog", ""), runner("1", "dog", "")}, []string{"1"},
			map[string]Model{"1": model("cat")}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Prefetch(c.waiting, c.runners, c.bound)); diff != "" {
				t.Errorf("who brings what (-want +got):\n%s", diff)
			}
		})
	}
}
