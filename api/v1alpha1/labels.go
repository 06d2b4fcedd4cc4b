// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// LabelPool is on everything that belongs to a RunnerPool: its pods, Runners, service
// accounts, roles and role bindings. Its value is the pool's name.
const LabelPool = "generation.atelier.dev/pool"

// AnnotationTemplateHash is on runner pods: pods of one pool with different values were
// made from different templates.
const AnnotationTemplateHash = "generation.atelier.dev/template-hash"

// AnnotationIdleSince is on Runners: when an assignment was last taken away, in RFC 3339.
const AnnotationIdleSince = "generation.atelier.dev/idle-since"

// AnnotationPoolAnnotations is on the service accounts of runners: the keys of the annotations
// that they have from their pool, with spaces between them.
const AnnotationPoolAnnotations = "generation.atelier.dev/pool-annotations"
