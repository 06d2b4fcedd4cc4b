// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"
	"testing"
)

// TestCacheStaysBelowTheLimits of its volume and of the pod, unless the template says otherwise. A
// pool without a limit has the environment that it always had, so that its pods are not
// replaced.
func TestCacheStaysBelowTheLimits(t *testing.T) {
	runner := func(fields string) string { return `"containers": [{"name": "runner", ` + fields + `}]` }
	storage := runner(`"resources": {"limits": {"ephemeral-storage": "1000Mi"}}`)
	const limited = `"volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1000Mi"}}]`
	for name, test := range map[string]struct{ spec, want string }{
		"no template":       {``, ""},
		"no limit":          {`"volumes": [{"name": "cache", "emptyDir": {}}]`, ""},
		"0 is no limit":     {`"volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "0"}}]`, ""},
		"a limit":           {limited, "CACHE_CAPACITY=1027604480"}, // 980 Mi
		"another volume":    {`"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1000Mi"}}]`, ""},
		"a claim":           {`"volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": "models"}}]`, ""},
		"its own capacity":  {runner(`"env": [{"name": "CACHE_CAPACITY", "value": "5Gi"}]`) + `, ` + limited, "CACHE_CAPACITY=5Gi"},
		"a pod's limit":     {storage, "CACHE_CAPACITY=943718400"},                                                                          // 900 Mi
		"the lesser":        {storage + `, "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "500Mi"}}]`, "CACHE_CAPACITY=513802240"}, // 490 Mi
		"the pod's":         {storage + `, ` + limited, "CACHE_CAPACITY=943718400"},
		"in memory":         {storage + `, "volumes": [{"name": "cache", "emptyDir": {"medium": "Memory"}}]`, ""},
		"a claim's":         {storage + `, "volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": "models"}}]`, ""},
		"a sidecar's":       {`"containers": [{"name": "side", "env": [{"name": "CACHE_CAPACITY", "value": "5Gi"}]}], ` + limited, "CACHE_CAPACITY=1027604480"},
		"mounted elsewhere": {`"containers": [{"name": "runner", "volumeMounts": [{"name": "cache", "mountPath": "/scratch"}, {"name": "models", "mountPath": "/cache"}]}], ` + limited, ""},
	} {
		t.Run(name, func(t *testing.T) {
			pod := podOf(t, `{"spec": {`+test.spec+`}}`)
			var values []string
			for _, v := range runnerContainerOf(&pod.Spec).Env {
				if v.ValueFrom == nil { // Unlike those of the downward API.
					values = append(values, v.Name+"="+v.Value)
				}
			}
			if got := strings.Join(values, " "); got != test.want {
				t.Errorf("it sets %q; want %q", got, test.want)
			}
		})
	}
}
