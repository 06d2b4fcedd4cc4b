// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"

	"github.com/atelier-dev/atelier/internal/modelstore"
)

// etaScheduler is the one class that makes use of eta.
const etaScheduler = "DDIMScheduler"

// unused gives a warning for each number in the request that has no effect on the picture.
func (p plan) unused() []string {
	var warnings []string
	for _, c := range []struct {
		field string
		value float64
		used  bool
		lacks string
	}{
		{"guidanceRescale", p.GuidanceRescale, p.guided, "guidance"},
		{"eta", p.Eta, p.Scheduler == etaScheduler, etaScheduler},
		{"strength", p.Strength, p.Image != nil, "a picture to begin with"},
	} {
		if c.value != 0 && !c.used {
			warnings = append(warnings, fmt.Sprintf("%s: %v: has no effect without %s", c.field, c.value, c.lacks))
		}
	}
	return warnings
}

// clipped warns where the scheduler spoils the latents for want of an option: as diffusers
// does when a scheduler is made from another's configuration, but without a word.
func (p plan) clipped() []string {
	if !p.method.ClipsUnasked {
		return nil
	}
	return []string{fmt.Sprintf(`scheduler: %s clips latents to the range from -1 to 1, as %s does not say "clip_sample": false`, p.Scheduler, modelstore.SchedulerFile)}
}
