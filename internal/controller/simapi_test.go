// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// simAPI is the API server of the simulation: a client that keeps objects in memory, with
// resource versions, generations, uids, preconditions and status subresources. The fake
// client of controller-runtime does that too, and more, at a hundred times the cost.
//
// A patch comes to an update of the object as it was read, refused if it is locked and the
// object is another by now.
type simAPI struct {
	client.Client
	clock   clock.PassiveClock
	objects simStore
	version int
	// stuck reports whether nothing confirms that an object is gone, so that deleting it
	// only asks for that.
	stuck func(client.Object) bool
	// announce is told of each event: what an object is now, nil where it was deleted.
	announce func(simKey, client.Object)
}

// simKey is where an object is.
type simKey struct {
	kind schema.GroupVersionKind
	name types.NamespacedName
}

// simStore holds objects, as an API server or as a cache.
type simStore map[simKey]client.Object

func keyOf(object runtime.Object) simKey {
	gvks, _, err := simScheme.ObjectKinds(object)
	if err != nil {
		panic(err)
	}
	key := simKey{kind: gvks[0]}
	if o, ok := object.(client.Object); ok {
		key.name = client.ObjectKeyFromObject(o)
	}
	return key
}

func notFound(key simKey) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: key.kind.Kind}, key.name.Name)
}

func conflict(key simKey) error {
	return apierrors.NewConflict(schema.GroupResource{Resource: key.kind.Kind}, key.name.Name, errors.New("simulated"))
}

// get copies an object out of the store.
func (s simStore) get(name client.ObjectKey, into client.Object) error {
	key := keyOf(into)
	key.name = name
	object := s[key]
	if object == nil {
		return notFound(key)
	}
	copyInto(into, object)
	return nil
}

func copyInto(into, object client.Object) {
	reflect.ValueOf(into).Elem().Set(reflect.ValueOf(object.DeepCopyObject()).Elem())
}

// list copies the objects out that the options select, in the order of their names.
func (s simStore) list(into client.ObjectList, opts ...client.ListOption) error {
	options := (&client.ListOptions{}).ApplyOptions(opts)
	kind := strings.TrimSuffix(keyOf(into).kind.Kind, "List")
	var found []runtime.Object
	for _, key := range s.keys() {
		if key.kind.Kind == kind && matches(s[key], options) {
			found = append(found, s[key].DeepCopyObject())
		}
	}
	return meta.SetList(into, found)
}

// keys returns where there are objects, in a fixed order.
func (s simStore) keys() []simKey {
	keys := make([]simKey, 0, len(s))
	for key := range s {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

func compareKeys(a, b simKey) int {
	return cmp.Or(
		strings.Compare(a.kind.Kind, b.kind.Kind),
		strings.Compare(a.name.Namespace, b.name.Namespace),
		strings.Compare(a.name.Name, b.name.Name),
	)
}

// matches applies the namespace, labels and the indexes of the real cache.
func matches(o client.Object, options *client.ListOptions) bool {
	if options.Namespace != "" && options.Namespace != o.GetNamespace() {
		return false
	}
	if options.LabelSelector != nil && !options.LabelSelector.Matches(labels.Set(o.GetLabels())) {
		return false
	}
	if options.FieldSelector == nil {
		return true
	}
	for _, requirement := range options.FieldSelector.Requirements() {
		at := slices.IndexFunc(indexes, func(i index) bool { return i.name == requirement.Field })
		if at < 0 || !slices.Contains(indexes[at].values(o), requirement.Value) {
			return false
		}
	}
	return true
}

func (a *simAPI) Scheme() *runtime.Scheme { return simScheme }

func (a *simAPI) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	return a.objects.get(key, into)
}

func (a *simAPI) List(_ context.Context, into client.ObjectList, opts ...client.ListOption) error {
	return a.objects.list(into, opts...)
}

func (a *simAPI) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	key := keyOf(o)
	if a.objects[key] != nil {
		return apierrors.NewAlreadyExists(schema.GroupResource{Resource: key.kind.Kind}, key.name.Name)
	}
	o.SetUID(types.UID(fmt.Sprint("uid-", a.version)))
	o.SetCreationTimestamp(metav1.NewTime(a.clock.Now()))
	o.SetGeneration(1)
	a.store(key, o)
	return nil
}

// store gives an object its next resource version and keeps a copy.
func (a *simAPI) store(key simKey, o client.Object) {
	a.version++
	o.SetResourceVersion(fmt.Sprint(a.version))
	a.objects[key] = o.DeepCopyObject().(client.Object)
	a.announce(key, a.objects[key])
}

func (a *simAPI) Update(_ context.Context, o client.Object, _ ...client.UpdateOption) error {
	return a.update(o, func(stored client.Object) {
		status := fieldOf(stored.DeepCopyObject(), "Status")
		spec := fieldOf(stored.DeepCopyObject(), "Spec")
		copyInto(stored, o)
		if status.IsValid() {
			fieldOf(stored, "Status").Set(status)
		}
		if spec.IsValid() && !equality.Semantic.DeepEqual(spec.Interface(), fieldOf(stored, "Spec").Interface()) {
			stored.SetGeneration(stored.GetGeneration() + 1)
		}
	})
}

func (a *simAPI) Patch(ctx context.Context, o client.Object, patch client.Patch, _ ...client.PatchOption) error {
	if err := a.unlock(o, patch); err != nil {
		return err
	}
	return a.Update(ctx, o)
}

// unlock makes an update of the object pass whatever was written since, if the patch says
// nothing of a resource version.
func (a *simAPI) unlock(o client.Object, patch client.Patch) error {
	data, err := patch.Data(o)
	if stored := a.objects[keyOf(o)]; stored != nil && !bytes.Contains(data, []byte(`"resourceVersion"`)) {
		o.SetResourceVersion(stored.GetResourceVersion())
	}
	return err
}

// update changes a stored object, if it is the one that was read.
func (a *simAPI) update(o client.Object, change func(stored client.Object)) error {
	key := keyOf(o)
	stored := a.objects[key]
	switch {
	case stored == nil:
		return notFound(key)
	case stored.GetResourceVersion() != o.GetResourceVersion() || stored.GetUID() != o.GetUID():
		return conflict(key)
	}
	next := stored.DeepCopyObject().(client.Object)
	change(next)
	a.store(key, next)
	copyInto(o, next)
	return nil
}

func (a *simAPI) Delete(_ context.Context, o client.Object, opts ...client.DeleteOption) error {
	key := keyOf(o)
	options := (&client.DeleteOptions{}).ApplyOptions(opts)
	switch stored := a.objects[key]; {
	case stored == nil:
		return notFound(key)
	case options.Preconditions != nil && *options.Preconditions.UID != stored.GetUID(),
		options.Preconditions != nil && ptr.Deref(options.Preconditions.ResourceVersion, stored.GetResourceVersion()) != stored.GetResourceVersion():
		return conflict(key)
	case a.stuck(stored):
		if stored.GetDeletionTimestamp().IsZero() {
			dying := stored.DeepCopyObject().(client.Object)
			dying.SetDeletionTimestamp(&metav1.Time{Time: a.clock.Now().Add(time.Duration(gracePeriod) * time.Second)})
			a.store(key, dying)
		}
		return nil
	}
	delete(a.objects, key)
	a.announce(key, nil)
	return nil
}

func (a *simAPI) Status() client.SubResourceWriter { return &simStatus{api: a} }

// simStatus writes the status of objects, and nothing else of them.
type simStatus struct {
	client.SubResourceWriter
	api *simAPI
}

func (s *simStatus) Update(_ context.Context, o client.Object, _ ...client.SubResourceUpdateOption) error {
	return s.api.update(o, func(stored client.Object) {
		fieldOf(stored, "Status").Set(fieldOf(o.DeepCopyObject(), "Status"))
	})
}

func (s *simStatus) Patch(ctx context.Context, o client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	if err := s.api.unlock(o, patch); err != nil {
		return err
	}
	return s.Update(ctx, o)
}

func fieldOf(o runtime.Object, name string) reflect.Value {
	return reflect.ValueOf(o).Elem().FieldByName(name)
}

// simManager is the manager's client: it reads from the cache, and what becomes of its
// writes is up to the world.
type simManager struct {
	*simAPI
	world *world
}

func (m *simManager) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	return m.world.watched.cache.get(key, into)
}

func (m *simManager) List(_ context.Context, into client.ObjectList, opts ...client.ListOption) error {
	return m.world.watched.cache.list(into, opts...)
}

func (m *simManager) Create(ctx context.Context, o client.Object, _ ...client.CreateOption) error {
	return m.world.write("create", o, func() error { return m.simAPI.Create(ctx, o) })
}

func (m *simManager) Update(ctx context.Context, o client.Object, _ ...client.UpdateOption) error {
	return m.world.write("update", o, func() error { return m.simAPI.Update(ctx, o) })
}

func (m *simManager) Patch(ctx context.Context, o client.Object, patch client.Patch, _ ...client.PatchOption) error {
	return m.world.write("patch", o, func() error { return m.simAPI.Patch(ctx, o, patch) })
}

func (m *simManager) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	return m.world.write("delete", o, func() error { return m.simAPI.Delete(ctx, o, opts...) })
}

func (m *simManager) Status() client.SubResourceWriter {
	return &simManagerStatus{SubResourceWriter: m.simAPI.Status(), world: m.world}
}

type simManagerStatus struct {
	client.SubResourceWriter
	world *world
}

func (s *simManagerStatus) Patch(ctx context.Context, o client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	return s.world.write("patch status of", o, func() error { return s.SubResourceWriter.Patch(ctx, o, patch) })
}
