// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// defaultFileMode is that of files made from objects, where the pod states none.
const defaultFileMode int32 = 0o644

// volumes makes the directories that stand for a pod's volumes. A volume that is made of
// objects is written once, when the pod starts; tokens are kept fresh by the caller.
type volumes struct {
	client kubernetes.Interface
	pod    *corev1.Pod
	dir    string // holds a directory for each volume

	tokens []*tokenFile // filled by prepare
}

// prepare realises each volume and returns the host's path of each by name.
func (v *volumes) prepare(ctx context.Context) (map[string]string, error) {
	v.tokens = nil
	paths := map[string]string{}
	for i := range v.pod.Spec.Volumes {
		volume := &v.pod.Spec.Volumes[i]
		path, err := v.realise(ctx, volume)
		if err != nil {
			return nil, fmt.Errorf("volume %q: %w", volume.Name, err)
		}
		paths[volume.Name] = path
	}
	return paths, nil
}

func (v *volumes) realise(ctx context.Context, volume *corev1.Volume) (path string, err error) {
	dir := filepath.Join(v.dir, volume.Name)
	switch source := volume.VolumeSource; {
	case source.HostPath != nil:
		return hostPath(source.HostPath.Path, source.HostPath.Type)
	case source.PersistentVolumeClaim != nil:
		return v.claimedPath(ctx, source.PersistentVolumeClaim.ClaimName)
	case source.EmptyDir != nil:
		return dir, os.MkdirAll(dir, 0o777)
	default:
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		return dir, v.write(ctx, dir, &source)
	}
}

// write fills dir from a source that is made of objects.
func (v *volumes) write(ctx context.Context, dir string, source *corev1.VolumeSource) error {
	switch {
	case source.ConfigMap != nil:
		s := source.ConfigMap
		return v.writeConfigMap(ctx, dir, s.Name, s.Items, s.Optional, mode(s.DefaultMode))
	case source.Secret != nil:
		s := source.Secret
		return v.writeSecret(ctx, dir, s.SecretName, s.Items, s.Optional, mode(s.DefaultMode))
	case source.DownwardAPI != nil:
		return v.writeFields(dir, source.DownwardAPI.Items, mode(source.DownwardAPI.DefaultMode))
	case source.Projected != nil:
		return v.writeProjected(ctx, dir, source.Projected)
	}
	return fmt.Errorf("this node mounts emptyDir, hostPath, persistentVolumeClaim, configMap, secret, downwardAPI and projected only")
}

func (v *volumes) writeProjected(ctx context.Context, dir string, projected *corev1.ProjectedVolumeSource) error {
	for _, source := range projected.Sources {
		var err error
		switch {
		case source.ServiceAccountToken != nil:
			token := &tokenFile{
				client: v.client, pod: v.pod, source: source.ServiceAccountToken,
				path: filepath.Join(dir, source.ServiceAccountToken.Path),
			}
			v.tokens = append(v.tokens, token)
			err = token.write(ctx)
		case source.ConfigMap != nil:
			s := source.ConfigMap
			err = v.writeConfigMap(ctx, dir, s.Name, s.Items, s.Optional, mode(projected.DefaultMode))
		case source.Secret != nil:
			s := source.Secret
			err = v.writeSecret(ctx, dir, s.Name, s.Items, s.Optional, mode(projected.DefaultMode))
		case source.DownwardAPI != nil:
			err = v.writeFields(dir, source.DownwardAPI.Items, mode(projected.DefaultMode))
		default:
			err = fmt.Errorf("projected: this node knows serviceAccountToken, configMap, secret and downwardAPI only")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *volumes) writeConfigMap(ctx context.Context, dir, name string, items []corev1.KeyToPath, optional *bool, mode os.FileMode) error {
	data, err := configMapData(ctx, v.client, v.pod.Namespace, name, optional)
	if err != nil {
		return err
	}
	return writeItems(dir, "ConfigMap "+name, data, items, optional, mode)
}

func (v *volumes) writeSecret(ctx context.Context, dir, name string, items []corev1.KeyToPath, optional *bool, mode os.FileMode) error {
	data, err := secretData(ctx, v.client, v.pod.Namespace, name, optional)
	if err != nil {
		return err
	}
	return writeItems(dir, "Secret "+name, data, items, optional, mode)
}

// writeFields writes downward API files.
func (v *volumes) writeFields(dir string, items []corev1.DownwardAPIVolumeFile, mode os.FileMode) error {
	for _, item := range items {
		if item.FieldRef == nil {
			return fmt.Errorf("downwardAPI %s: this node knows fieldRef only in volumes", item.Path)
		}
		value, err := fieldValue(v.pod, item.FieldRef.FieldPath)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, item.Path), []byte(value), itemMode(item.Mode, mode)); err != nil {
			return err
		}
	}
	return nil
}

// claimedPath is the directory of the volume that a claim is bound to.
func (v *volumes) claimedPath(ctx context.Context, claim string) (string, error) {
	pvc, err := v.client.CoreV1().PersistentVolumeClaims(v.pod.Namespace).Get(ctx, claim, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if pvc.Spec.VolumeName == "" {
		return "", fmt.Errorf("claim %s is not bound to a volume", claim)
	}
	pv, err := v.client.CoreV1().PersistentVolumes().Get(ctx, pvc.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	switch {
	case pv.Spec.HostPath != nil:
		return hostPath(pv.Spec.HostPath.Path, pv.Spec.HostPath.Type)
	case pv.Spec.Local != nil:
		return hostPath(pv.Spec.Local.Path, nil)
	}
	return "", fmt.Errorf("claim %s: this node mounts volumes of kind hostPath and local only, which %s is not", claim, pv.Name)
}

// hostPath checks a directory or file of the host as its type asks.
func hostPath(path string, kind *corev1.HostPathType) (string, error) {
	if kind != nil && *kind == corev1.HostPathDirectoryOrCreate {
		return path, os.MkdirAll(path, 0o755)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("hostPath: %w", err)
	}
	if kind != nil && *kind == corev1.HostPathDirectory && !info.IsDir() {
		return "", fmt.Errorf("hostPath: %s is not a directory", path)
	}
	return path, nil
}

// writeItems writes the keys that items name, or all keys where there are none.
func writeItems(dir, object string, data map[string][]byte, items []corev1.KeyToPath, optional *bool, mode os.FileMode) error {
	if len(items) == 0 {
		for key, value := range data {
			if err := writeFile(filepath.Join(dir, key), value, mode); err != nil {
				return err
			}
		}
		return nil
	}
	for _, item := range items {
		value, found, err := keyOf(data, object, item.Key, optional, nil)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if err := writeFile(filepath.Join(dir, item.Path), []byte(value), itemMode(item.Mode, mode)); err != nil {
			return err
		}
	}
	return nil
}

func mode(m *int32) os.FileMode {
	if m == nil {
		return os.FileMode(defaultFileMode)
	}
	return os.FileMode(*m)
}

func itemMode(m *int32, otherwise os.FileMode) os.FileMode {
	if m == nil {
		return otherwise
	}
	return os.FileMode(*m)
}

// writeFile puts data at path in one step, as a process may be reading it.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, mode); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
