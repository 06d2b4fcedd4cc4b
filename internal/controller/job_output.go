// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// uidPrefix is how much of a job's uid keeps the directories of equally named jobs apart.
const uidPrefix = 8

// outputDirectory is below the folder of the job's namespace, so that neighbours who share
// a pool can't write over each other's pictures.
func outputDirectory(job *v1alpha1.GenerationJob) string {
	directory := fmt.Sprintf("%s-%s", job.Name, job.UID[:min(uidPrefix, len(job.UID))])
	if output := job.Spec.Output; output != nil && output.Directory != nil {
		directory = *output.Directory
	}
	return path.Join(job.Namespace, directory)
}

// outputPaths are those of the pictures of a job that says what they are like, nil for any
// other. The job's seed must be recorded already: with it every attempt has the same paths.
// They are below the folder of the job's namespace too.
func outputPaths(job *v1alpha1.GenerationJob) []string {
	output := job.Spec.Output
	if output == nil || output.Path == nil {
		return nil
	}
	paths := make([]string, ptr.Deref(job.Spec.Images, v1alpha1.DefaultImages))
	for i := range paths {
		paths[i] = path.Join(job.Namespace, expandPath(*output.Path, job, int64(i)))
	}
	return paths
}

// expandPath fills the placeholders of a path in for one picture. What was filled in is not
// looked at again, and no value has a slash, so that each segment stays one.
func expandPath(template string, job *v1alpha1.GenerationJob, index int64) string {
	return strings.NewReplacer(
		"{namespace}", job.Namespace,
		"{name}", job.Name,
		"{uid}", string(job.UID),
		"{index}", strconv.FormatInt(index, 10),
		"{seed}", strconv.FormatInt(*job.Status.Seed+index, 10),
	).Replace(template)
}

func outputFormat(job *v1alpha1.GenerationJob) v1alpha1.ImageFormat {
	if output := job.Spec.Output; output != nil && output.Format != nil {
		return *output.Format
	}
	return v1alpha1.ImageFormatPNG
}
