// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ConfigError says which option of a scheduler's configuration is wrong.
type ConfigError struct {
	// Field is the JSON key; empty where the file as a whole is at fault.
	Field string
	// Message says what was found and what would be right.
	Message string
}

// Error names the field before the message.
func (e *ConfigError) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Config is a scheduler_config.json. Which options it may have, and what applies where
// one is left out, is each scheduler's own business.
type Config struct {
	class  string
	values map[string]json.RawMessage
}

// ParseConfig reads a scheduler_config.json. The error is a *ConfigError.
func ParseConfig(data []byte) (Config, error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(quoteInfinities(data), &values); err != nil {
		return Config{}, &ConfigError{Message: "must be a JSON object: " + err.Error()}
	}
	o := options{values: values}
	c := Config{class: o.text("_class_name", ""), values: values}
	if o.err == nil && c.class == "" {
		o.fail("_class_name", "must name a scheduler class of diffusers, such as EulerDiscreteScheduler")
	}
	return c, o.err
}

// quoteInfinities makes strings of -Infinity and Infinity. Python writes them into JSON
// files, lambda_min_clipped of the DPM solvers above all, though JSON has no such numbers.
func quoteInfinities(data []byte) []byte {
	if !bytes.Contains(data, []byte("Infinity")) {
		return data
	}
	out := make([]byte, 0, len(data)+16)
	inString := false
	for i := 0; i < len(data); i++ {
		rest := data[i:]
		switch {
		case inString && data[i] == '\\' && len(rest) > 1:
			out = append(out, data[i])
			i++
		case data[i] == '"':
			inString = !inString
		case !inString && bytes.HasPrefix(rest, []byte("-Infinity")):
			out = append(out, `"-Infinity"`...)
			i += len("-Infinity") - 1
			continue
		case !inString && bytes.HasPrefix(rest, []byte("Infinity")):
			out = append(out, `"Infinity"`...)
			i += len("Infinity") - 1
			continue
		}
		out = append(out, data[i])
	}
	return out
}

// Class is the diffusers class that the configuration was written for.
func (c Config) Class() string { return c.class }

// knownOptions are those of all of diffusers' schedulers. A configuration is often used
// with another class than its own, and diffusers ignores there what does not concern it.
var knownOptions = []string{
	"algorithm_type", "base_image_seq_len", "base_shift", "beta_end", "beta_schedule",
	"beta_start", "clip_sample", "clip_sample_range", "disable_corrector",
	"dynamic_thresholding_ratio", "euler_at_final", "final_sigmas_type", "flow_shift",
	"interpolation_type", "invert_sigmas", "lambda_min_clipped", "lower_order_final",
	"max_image_seq_len", "max_shift", "num_train_timesteps", "original_inference_steps", "predict_x0",
	"prediction_type", "rescale_betas_zero_snr", "sample_max_value", "set_alpha_to_one", "shift",
	"shift_terminal", "sigma_max", "sigma_min", "skip_prk_steps", "solver_order", "solver_p",
	"solver_type", "steps_offset", "stochastic_sampling", "thresholding", "time_shift_type",
	"timestep_scaling", "timestep_spacing", "timestep_type", "trained_betas", "use_beta_sigmas",
	"use_dynamic_shifting", "use_exponential_sigmas", "use_flow_sigmas", "use_karras_sigmas",
	"use_lu_lambdas", "variance_type",
}

// options reads the options of one scheduler and remembers the first error and what was
// asked for, so that the rest can be refused by name.
type options struct {
	values map[string]json.RawMessage
	asked  []string
	err    error
	// clipsUnasked says that the class clips as clip_sample is left out.
	clipsUnasked bool
}

func (o *options) fail(field, format string, args ...any) {
	if o.err == nil {
		o.err = &ConfigError{Field: field, Message: fmt.Sprintf(format, args...)}
	}
}

// read decodes an option and says whether it is there; null counts as left out.
func (o *options) read(field string, into any, want string) bool {
	o.asked = append(o.asked, field)
	raw, ok := o.values[field]
	if !ok || bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return false
	}
	if err := json.Unmarshal(raw, into); err != nil {
		o.fail(field, "is %s; must be %s", abbreviate(raw), want)
		return false
	}
	return true
}

// is says whether an option is there with exactly this text.
func (o *options) is(field, text string) bool {
	o.asked = append(o.asked, field)
	var v string
	return json.Unmarshal(o.values[field], &v) == nil && v == text
}

func (o *options) text(field, otherwise string) string {
	o.read(field, &otherwise, "a string")
	return otherwise
}

func (o *options) flag(field string) bool { return o.flagOr(field, false) }

func (o *options) flagOr(field string, otherwise bool) bool {
	o.read(field, &otherwise, "true or false")
	return otherwise
}

// choice reads a string that must be one of the values; the first is the default.
func (o *options) choice(field string, values ...string) string {
	return o.choiceOr(field, values[0], values...)
}

// choiceOr reads a string that must be one of the values.
func (o *options) choiceOr(field, otherwise string, values ...string) string {
	v := o.text(field, otherwise)
	if !slices.Contains(values, v) {
		o.fail(field, "is %q; must be one of %s", v, strings.Join(values, ", "))
	}
	return v
}

// integer reads a whole number within bounds.
func (o *options) integer(field string, otherwise, least, most int) int {
	v := otherwise
	o.read(field, &v, "a whole number")
	if v < least || v > most {
		o.fail(field, "is %d; must be from %d to %d", v, least, most)
	}
	return v
}

// real reads a number strictly between the bounds.
func (o *options) real(field string, otherwise, above, below float64) float64 {
	v := otherwise
	o.read(field, &v, "a number")
	if !(v > above && v < below) {
		o.fail(field, "is %v; must be between %v and %v", v, above, below)
	}
	return v
}

// share reads a number from 0 to 1.
func (o *options) share(field string, otherwise float64) float64 {
	v := otherwise
	o.read(field, &v, "a number")
	if !(v >= 0 && v <= 1) {
		o.fail(field, "is %v; must be from 0 to 1", v)
	}
	return v
}

// optionalSigma reads a standard deviation that may be left out. The bounds keep what is
// computed of it within float32.
func (o *options) optionalSigma(field string) *float64 {
	const least, most = 1e-9, 1e9
	var v float64
	if !o.read(field, &v, "a number or null") {
		return nil
	}
	if !(v >= least && v <= most) {
		o.fail(field, "is %v; must be from %v to %v", v, least, most)
	}
	return &v
}

// refuse allows an option only where it is left out or has the value of doing nothing.
func (o *options) refuse(field string, nothing any) {
	var v any
	if o.read(field, &v, "a JSON value") && v != nothing {
		o.fail(field, "is %s, which is not supported; leave it out or set it to %v", abbreviate(o.values[field]), nothing)
	}
}

// finish gives the first error, and refuses options that no scheduler knows.
func (o *options) finish() error {
	for _, field := range slices.Sorted(maps.Keys(o.values)) {
		if !strings.HasPrefix(field, "_") && !slices.Contains(o.asked, field) && !slices.Contains(knownOptions, field) {
			o.fail(field, "is not an option that is known")
		}
	}
	return o.err
}

// abbreviate keeps values from a file short in messages.
func abbreviate(raw json.RawMessage) string {
	const most = 60
	if len(raw) > most {
		return string(bytes.ToValidUTF8(raw[:most], nil)) + "…"
	}
	return string(raw)
}
