// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"path"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// newAssignment resolves a job for one attempt. A parameter is the job's, else the model's
// default, else the API's constant; sizes and the scheduler fall back to the model's own,
// which only the runner can read. With a picture to begin with, it is the size of that which
// counts and not the model's. The job's seed must be recorded already, and the pool must
// have the job's store.
func newAssignment(job *v1alpha1.GenerationJob, model *v1alpha1.Model, pool *v1alpha1.RunnerPool, attempt int32) v1alpha1.Assignment {
	store, _ := storeOf(job, pool)
	spec, defaults := job.Spec, ptr.Deref(model.Spec.Defaults, v1alpha1.ModelDefaults{})
	if spec.Image != nil {
		defaults.Width, defaults.Height = nil, nil
	}
	return v1alpha1.Assignment{
		UID:                 job.UID,
		Attempt:             attempt,
		JobNamespace:        job.Namespace,
		JobName:             job.Name,
		Model:               assignedModel(model, pool),
		Prompt:              spec.Prompt,
		NegativePrompt:      ptr.Deref(spec.NegativePrompt, ""),
		PromptSyntax:        resolve(v1alpha1.PromptSyntaxCompel, spec.PromptSyntax, defaults.PromptSyntax),
		ClipSkip:            resolve(0, spec.ClipSkip, defaults.ClipSkip),
		Image:               imageSource(job),
		Strength:            strength(spec),
		Steps:               resolve(v1alpha1.DefaultSteps, spec.Steps, defaults.Steps),
		GuidanceScale:       resolve(v1alpha1.DefaultGuidanceScale, spec.GuidanceScale, defaults.GuidanceScale),
		GuidanceRescale:     resolve(0, spec.GuidanceRescale, defaults.GuidanceRescale),
		Seed:                *job.Status.Seed,
		GeneratorDevice:     ptr.Deref(spec.GeneratorDevice, v1alpha1.GeneratorCPU),
		Width:               resolve(0, spec.Width, defaults.Width),
		Height:              resolve(0, spec.Height, defaults.Height),
		Scheduler:           resolve("", spec.Scheduler, defaults.Scheduler),
		Eta:                 ptr.Deref(spec.Eta, 0),
		Images:              ptr.Deref(spec.Images, v1alpha1.DefaultImages),
		Store:               store,
		SaveSeconds:         ptr.Deref(ptr.Deref(spec.StageDeadlines, v1alpha1.StageDeadlines{}).SaveSeconds, v1alpha1.DefaultSaveSeconds),
		OutputDirectory:     outputDirectory(job),
		OutputPaths:         outputPaths(job),
		OutputFormat:        outputFormat(job),
		PrecomputeEmbedding: ptr.Deref(spec.PrecomputeEmbedding, false),
	}
}

// assignedModel is a model as it is now, for a runner of the pool.
func assignedModel(model *v1alpha1.Model, pool *v1alpha1.RunnerPool) v1alpha1.AssignedModel {
	return v1alpha1.AssignedModel{
		Name:       model.Name,
		UID:        model.UID,
		Generation: model.Generation,
		Source:     *model.Spec.Source.DeepCopy(),
		Store:      storeOfModel(model, pool),
		Digest:     modelDigest(model),
	}
}

// imageSource is the picture to begin with. A guest's is below the folder of its namespace,
// where its outputs are, so that nobody can begin with what a neighbour drew.
func imageSource(job *v1alpha1.GenerationJob) *v1alpha1.ImageSource {
	image := job.Spec.Image.DeepCopy()
	if image != nil && poolKey(job).Namespace != job.Namespace && !strings.HasPrefix(image.Path, job.Namespace+"/") {
		image.Path = path.Join(job.Namespace, image.Path)
	}
	return image
}

// strength is 0 where there is no picture to give up anything of.
func strength(spec v1alpha1.GenerationJobSpec) float64 {
	if spec.Image == nil {
		return 0
	}
	return ptr.Deref(spec.Strength, v1alpha1.DefaultStrength)
}

// modelDigest is the digest of the bytes that all runners must use for this generation of
// the model: the spec's, or what was recorded when the first runner looked; empty for none.
func modelDigest(model *v1alpha1.Model) string {
	switch source := model.Spec.Source; {
	case source.HTTP != nil:
		return "sha256:" + source.HTTP.SHA256
	case source.Path != "":
		return ""
	case source.OCI != nil && source.OCI.Digest != "":
		return source.OCI.Digest
	case source.Bucket != nil && source.Bucket.SHA256 != "":
		return "sha256:" + source.Bucket.SHA256
	case model.Status.ObservedGeneration != model.Generation:
		return ""
	}
	return model.Status.Digest
}

// resolve returns the first choice that was made, else the fallback.
func resolve[T any](fallback T, choices ...*T) T {
	for _, choice := range choices {
		if choice != nil {
			return *choice
		}
	}
	return fallback
}

// storeOf returns the store of the pool that the job writes to, nil for the outputs volume.
// It is false where the job names one that the pool does not have, or has for reading only.
func storeOf(job *v1alpha1.GenerationJob, pool *v1alpha1.RunnerPool) (store *v1alpha1.OutputStore, found bool) {
	name := storeName(job, pool)
	if name == "" {
		return nil, true
	}
	for i := range pool.Spec.Stores {
		switch store := &pool.Spec.Stores[i]; {
		case store.Name != name || store.ReadOnly:
		case store.URL == volumeURL:
			return nil, true
		default:
			return store.DeepCopy(), true
		}
	}
	return nil, false
}

// storeName is the job's choice, else the pool's, else empty.
func storeName(job *v1alpha1.GenerationJob, pool *v1alpha1.RunnerPool) string {
	if output := job.Spec.Output; output != nil && output.Store != nil {
		return *output.Store
	}
	return ptr.Deref(pool.Spec.DefaultStore, "")
}

// hasStore reports whether the pool has the store that the job names, and it may be written.
func hasStore(job *v1alpha1.GenerationJob, pool *v1alpha1.RunnerPool) bool {
	_, found := storeOf(job, pool)
	return found
}
