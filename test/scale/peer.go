// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// peer runs Kubernetes Jobs on the same nodes, whose GPUs the pool has given back.
func (s *site) peer(ctx context.Context) ([]result, error) {
	if s.options.peerJobs == 0 {
		return nil, nil
	}
	if _, err := s.cluster.KubectlOutput(ctx, "delete", "runnerpool", "default", "-n", namespace, "--wait"); err != nil {
		return nil, err
	}
	if _, err := s.cluster.KubectlOutput(ctx, "wait", "--for=delete", "pods", "--all", "-n", namespace, "--timeout=5m"); err != nil {
		return nil, err
	}
	start := time.Now()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { ended <- s.awaitComplete(ctx) }()
	if err := createAll(ctx, s.options.peerJobs, 0, func(i int) error { return s.api.Create(ctx, batchJob(i)) }); err != nil {
		return nil, err
	}
	if err := <-ended; err != nil {
		return nil, err
	}
	took := time.Since(start)
	return []result{{fmt.Sprintf("%d Kubernetes Jobs on as many GPUs, first created to last Complete", s.options.peerJobs),
		fmt.Sprintf("%.0f s, %.1f jobs/s", took.Seconds(), float64(s.options.peerJobs)/took.Seconds()), "fewer than ours"}}, nil
}

func batchJob(i int) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("peer-%d", i)},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name: "picture", Image: simulated,
				Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}},
			}},
		}}},
	}
}

func (s *site) awaitComplete(ctx context.Context) error {
	seen := map[string]bool{}
	return s.each(ctx, &batchv1.Job{}, func(o client.Object) bool {
		for _, condition := range o.(*batchv1.Job).Status.Conditions {
			if condition.Type == batchv1.JobComplete && condition.Status == corev1.ConditionTrue {
				seen[o.GetName()] = true
			}
		}
		return len(seen) == s.options.peerJobs
	})
}
