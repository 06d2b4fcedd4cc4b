// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// The variables that the manager's pod fills from the downward API.
const (
	podNameEnv = "POD_NAME"
	podUIDEnv  = "POD_UID"
)

// podLock is the lease, held in the name of this process's pod. A manager whose container
// was killed then finds the lease to be its own, and goes on at once rather than wait until
// it has run out. That is safe as a kubelet starts a container only when the last one's
// processes are gone, and no other pod ever has the uid. Outside of a pod there is none, and
// each process is somebody else.
func podLock(cluster *rest.Config, namespace string) (resourcelock.Interface, error) {
	name, uid := os.Getenv(podNameEnv), os.Getenv(podUIDEnv)
	if name == "" || uid == "" || namespace == "" {
		return nil, nil
	}
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, namespace, leaseName,
		resourcelock.ResourceLockConfig{Identity: name + "_" + uid}, cluster, renewDeadline)
	if err != nil {
		return nil, fmt.Errorf("lease %s/%s: %w", namespace, leaseName, err)
	}
	return lock, nil
}
