// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"sync"
	"time"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/bucket"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

const (
	// saveRetryWait is the wait after a store failed for the first time.
	saveRetryWait = time.Second
	// keptPatience is how long a store is asked again for pictures that are kept: nothing
	// is lost when the runner does something else meanwhile.
	keptPatience = 30 * time.Second
)

// finished is a picture that is to be written.
type finished struct {
	// output is what is known of it: all but where it will be.
	output v1alpha1.Output
	// file gives its bytes, each time the same. They are made when they are wanted, as all
	// of a job's at once would be much.
	file func() ([]byte, error)
}

// finished makes files of the pictures that were drawn.
func (w *work) finished(pictures []pipeline.Picture) []finished {
	files := make([]finished, len(pictures))
	for i, picture := range pictures {
		size := picture.Image.Bounds().Size()
		files[i] = finished{
			output: v1alpha1.Output{
				Index:           int32(picture.Index),
				Seed:            picture.Seed,
				GeneratorDevice: w.assignment.GeneratorDevice,
				Width:           int32(size.X),
				Height:          int32(size.Y),
			},
			file: func() ([]byte, error) {
				return artifact.Encode(artifact.Format(w.assignment.OutputFormat), picture.Image, picture.Parameters)
			},
		}
	}
	return files
}

// save writes the pictures. As soon as a store fails they are kept, so that neither the end
// of the attempt nor that of the process loses them.
func (w *work) save(ctx context.Context, to place, pictures []finished) ([]v1alpha1.Output, error) {
	if err := w.enter(ctx, v1alpha1.PhaseSaving, v1alpha1.ProgressSaving, nil); err != nil {
		return nil, err
	}
	defer w.metrics.stage(v1alpha1.PhaseSaving, w.clock)()
	keep := sync.OnceFunc(func() { w.keep(pictures) })
	retry := bucket.Retry{First: saveRetryWait, Until: w.saveUntil(), Failed: keep}
	outputs := make([]v1alpha1.Output, 0, len(pictures))
	for _, picture := range pictures {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		output, err := w.saveOne(ctx, to, picture, retry)
		if err != nil {
			return nil, failed(v1alpha1.ReasonSaveFailed, err)
		}
		outputs = append(outputs, output)
	}
	w.forget()
	return outputs, nil
}

// saveOne writes one picture. The same picture gives the same file, so that a second
// attempt finds its own work and not another's.
func (w *work) saveOne(ctx context.Context, to place, picture finished, retry bucket.Retry) (v1alpha1.Output, error) {
	data, err := picture.file()
	if err != nil {
		return v1alpha1.Output{}, err
	}
	format := artifact.Format(w.assignment.OutputFormat)
	output := picture.output
	file, url, err := to.put(ctx, w.fileName(int(output.Index))+format.Extension(), format, data, retry)
	output.Path, output.URL, output.SHA256, output.SizeBytes = file.Path, url, file.SHA256, file.SizeBytes
	return output, err
}

// fileName is where a picture goes, but for the extension.
func (w *work) fileName(index int) string {
	if paths := w.assignment.OutputPaths; index < len(paths) {
		return paths[index]
	}
	return path.Join(w.assignment.OutputDirectory, fmt.Sprint(index))
}

// saveUntil is when the last try to write to a store may begin. It leaves a part of the
// time that the job has for saving, so that what keeps the store from answering is reported
// and not just that time ran out.
func (w *work) saveUntil() time.Time {
	patience := time.Duration(w.assignment.SaveSeconds) * time.Second * 3 / 4
	if w.kept {
		patience = min(patience, keptPatience)
	}
	return time.Now().Add(patience)
}

// unsaved gives the pictures that an earlier attempt drew, from the same and with the same
// release, and could not write; nil for none. The model is loaded by then.
func (w *work) unsaved() []finished {
	if w.assignment.Store == nil {
		return nil
	}
	pictures, err := w.spool.find(w.assignment.UID, w.drawnFrom())
	if err != nil {
		w.log.Warn("Pictures that were kept can't be used", "error", err)
		w.forget()
		return nil
	}
	if len(pictures) > 0 {
		w.log.Info("Pictures were kept and are not drawn again", "pictures", len(pictures))
	}
	return pictures
}

// keep keeps the pictures for the next attempt. A volume that can't be written to is no
// place to keep what could not be written to it.
func (w *work) keep(pictures []finished) {
	if w.assignment.Store == nil {
		return
	}
	err := w.spool.keep(w.assignment.UID, w.drawnFrom(), pictures)
	if err != nil {
		w.log.Warn("Pictures not kept", "error", err)
		return
	}
	w.log.Info("Pictures kept until the store can be written to", "pictures", len(pictures))
	if err := w.spool.tidy(time.Now()); err != nil {
		w.log.Warn("Kept pictures not looked through", "error", err)
	}
}

// forget lets go of what is kept of the job.
func (w *work) forget() {
	if w.assignment.Store == nil {
		return
	}
	if err := w.spool.drop(w.assignment.UID); err != nil {
		w.log.Warn("Kept pictures not removed", "error", err)
	}
}

// drawnFrom stands for all that the bytes of the pictures follow from: the assignment but
// for the attempt and where they go, the model that is loaded and the runner's release.
func (w *work) drawnFrom() string {
	a := w.assignment.DeepCopy()
	a.Attempt, a.BindTime, a.Store, a.SaveSeconds, a.OutputDirectory, a.OutputPaths = 0, nil, nil, 0, "", nil
	loaded, _ := w.pipeline.Loaded()
	a.Model.Digest = w.store.digest(loaded.Dir)
	// Numbers that JSON does not have come from no API server.
	data, _ := json.Marshal(a)
	sum := sha256.Sum256(append(data, w.version...))
	return hex.EncodeToString(sum[:])
}
