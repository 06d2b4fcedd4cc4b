// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"strings"
	"testing"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/modelstore"
)

// loadFake loads the tiny model over a runtime that computes nothing.
func loadFake(t *testing.T) (*Pipeline, *fakeRuntime) {
	t.Helper()
	runtime := &fakeRuntime{}
	p := New(runtime)
	if err := p.Load(t.Context(), testModel(t, tiny)); err != nil {
		t.Fatal(err)
	}
	return p, runtime
}

// TestHealthOfEveryCombination takes each subset of the parts away.
func TestHealthOfEveryCombination(t *testing.T) {
	whole, _ := loadFake(t)
	names := whole.current().list()
	if len(names) != 6 {
		t.Fatalf("%d parts; the combinations below are of 6", len(names))
	}
	for combination := range 1 << len(names) {
		loaded := whole.current()
		take := []func(){
			func() { loaded.model = nil },
			func() { loaded.tokenizer = nil },
			func() { loaded.textEncoder = nil },
			func() { loaded.unet = nil },
			func() { loaded.vaeDecoder = nil },
			func() { loaded.scheduler = nil },
		}
		var missing []string
		for i, part := range names {
			if combination&(1<<i) != 0 {
				take[i]()
				missing = append(missing, part.name)
			}
		}
		want, healthy := v1alpha1.ReasonPartiallyLoaded, false
		switch len(missing) {
		case 0:
			want, healthy = v1alpha1.ReasonLoaded, true
		case len(names):
			want, healthy = v1alpha1.ReasonIdle, true
		}
		p := New(&fakeRuntime{})
		p.set(loaded)
		health := p.Health()
		if health.Healthy != healthy || p.IsHealthy() != healthy || health.Reason != want {
			t.Errorf("without %v: %+v, want %v %s", missing, health, healthy, want)
		}
		if !healthy {
			_, after, _ := strings.Cut(health.Message, "missing: ")
			if after != strings.Join(missing, ", ") {
				t.Errorf("without %v the message is %q", missing, health.Message)
			}
		}
	}
}

// TestHealthOfPartsThatDoNotBelongTogether swaps and breaks parts.
func TestHealthOfPartsThatDoNotBelongTogether(t *testing.T) {
	for name, c := range map[string]struct {
		corrupt func(*parts)
		want    string
	}{
		"text encoder in place of the network": {func(p *parts) { p.unet = p.textEncoder }, "unet/model.onnx"},
		"decoder in place of the text encoder": {func(p *parts) { p.textEncoder = p.vaeDecoder }, "text_encoder/model.onnx"},
		"network in place of the decoder":      {func(p *parts) { p.vaeDecoder = p.unet }, "vae_decoder/model.onnx"},
		"other width":                          {func(p *parts) { p.config.UNet.CrossAttentionDim++ }, "encoder_hidden_states"},
		"other latents":                        {func(p *parts) { p.config.VAE.LatentChannels++ }, "latent_sample"},
		"no configuration":                     {func(p *parts) { p.config = modelstore.Config{} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := loadFake(t)
			loaded := p.current()
			c.corrupt(&loaded)
			p.set(loaded)
			health := p.Health()
			if health.Healthy || health.Reason != v1alpha1.ReasonCorrupted || !strings.Contains(health.Message, c.want) {
				t.Errorf("got %+v, want %s naming %q", health, v1alpha1.ReasonCorrupted, c.want)
			}
		})
	}
	for _, part := range []string{modelstore.TextEncoder, modelstore.UNet, modelstore.VAEDecoder} {
		p, runtime := loadFake(t)
		runtime.sessionErr = map[string]error{part: errors.New("the device is lost")}
		health := p.Health()
		if health.Healthy || health.Reason != v1alpha1.ReasonCorrupted || health.Message != part+": the device is lost" {
			t.Errorf("with a broken %s: %+v", part, health)
		}
	}
}

// TestLoadMendsWhatIsCorrupted loads the same model again over a broken session.
func TestLoadMendsWhatIsCorrupted(t *testing.T) {
	p, runtime := loadFake(t)
	runtime.sessionErr = map[string]error{modelstore.UNet: errors.New("the device is lost")}
	if p.IsHealthy() {
		t.Fatal("a broken session counts as healthy")
	}
	if _, err := p.Generate(t.Context(), Request{Steps: 1, Images: 1}, nil); err == nil || !strings.Contains(err.Error(), "the device is lost") {
		t.Errorf("Generate: %v", err)
	}
	runtime.openErr = map[string]error{}
	runtime.mu.Lock()
	runtime.sessionErr = nil
	runtime.mu.Unlock()
	if err := p.Load(t.Context(), testModel(t, tiny)); err != nil {
		t.Fatal(err)
	}
	if !p.IsHealthy() || runtime.left() != 3 {
		t.Errorf("health %+v with %d sessions", p.Health(), runtime.left())
	}
}
