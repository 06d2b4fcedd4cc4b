// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestWhoMayUseAPool(t *testing.T) {
	from := func(from v1alpha1.FromNamespaces) *v1alpha1.AllowedNamespaces {
		return &v1alpha1.AllowedNamespaces{From: &from}
	}
	labelled := func(selector metav1.LabelSelector) *v1alpha1.AllowedNamespaces {
		allowed := from(v1alpha1.NamespacesFromSelector)
		allowed.Selector = &selector
		return allowed
	}
	artists := metav1.LabelSelector{MatchLabels: map[string]string{"team": "art"}}
	broken := metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "Like"}}}
	tests := map[string]struct {
		allowed   *v1alpha1.AllowedNamespaces
		namespace string
		labels    labels.Set
		want      bool
	}{
		"its own namespace":                 {nil, "studio", nil, true},
		"its own, whatever the labels":      {labelled(artists), "studio", nil, true},
		"no other where nothing is said":    {nil, "gallery", nil, false},
		"nor where from is left out":        {&v1alpha1.AllowedNamespaces{}, "gallery", nil, false},
		"nor where only the same may":       {from(v1alpha1.NamespacesFromSame), "gallery", nil, false},
		"every one where all may":           {from(v1alpha1.NamespacesFromAll), "gallery", nil, true},
		"one with the labels":               {labelled(artists), "gallery", labels.Set{"team": "art"}, true},
		"not one without":                   {labelled(artists), "gallery", labels.Set{"team": "sales"}, false},
		"all where the selector is empty":   {labelled(metav1.LabelSelector{}), "gallery", nil, true},
		"none where the selector is broken": {labelled(broken), "gallery", labels.Set{"team": "art"}, false},
		"none where there is no selector":   {from(v1alpha1.NamespacesFromSelector), "gallery", labels.Set{"team": "art"}, false},
		"none for a word nobody knows":      {from("Some"), "gallery", nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pool := poolWith("")
			pool.Spec.AllowedNamespaces = tt.allowed
			if got := allowsNamespace(pool, tt.namespace, tt.labels); got != tt.want {
				t.Errorf("allowed: %t", got)
			}
		})
	}
	pool := poolWith("")
	pool.Spec.AllowedNamespaces = labelled(broken)
	const want = `spec.allowedNamespaces.selector: "Like" is not a valid label selector operator`
	if err := invalidNamespaces(pool); err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestAGuestBeginsWithItsOwnPicturesOnly(t *testing.T) {
	for _, tt := range []struct{ pool, path, want string }{
		{"platform", "studio/album/0.png", "studio/album/0.png"},
		{"platform", "album/0.png", "studio/album/0.png"},
		{"platform", "gallery/album/0.png", "studio/gallery/album/0.png"},
		{"platform", "studio-2/album/0.png", "studio/studio-2/album/0.png"},
		{"studio", "gallery/album/0.png", "gallery/album/0.png"},
	} {
		job := newJob()
		job.Spec.PoolRef = &v1alpha1.PoolReference{Name: "gpu", Namespace: &tt.pool}
		job.Spec.Image = &v1alpha1.ImageSource{Path: tt.path}
		if got := imageSource(job).Path; got != tt.want || job.Spec.Image.Path != tt.path {
			t.Errorf("in a pool of %s, %s is %s, want %s", tt.pool, tt.path, got, tt.want)
		}
	}
	if imageSource(newJob()) != nil {
		t.Error("a picture to begin with that nobody named")
	}
}
