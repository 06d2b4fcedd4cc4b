// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package artifact turns pictures into files: encoding with the parameters of the
// generation inside, and saving that survives a crash at any moment. It also reads the
// pictures that generations begin with.
package artifact

import (
	"fmt"
	"image"
	"slices"
	"strings"
)

// Format is an encoding of pictures.
type Format string

// The formats that Encode writes.
const (
	// PNG loses nothing.
	PNG Format = "PNG"
	// JPEG has quality 95 and half the resolution of colour (4:2:0).
	JPEG Format = "JPEG"
	// WebP (VP8L) loses nothing either, and is usually smaller than PNG.
	WebP Format = "WebP"
)

// format is how one format is written.
type format struct {
	name Format
	// extensions of file names; the first is the one that files get.
	extensions []string
	encode     func(*image.NRGBA, Parameters) ([]byte, error)
}

var formats = []format{
	{PNG, []string{".png"}, encodePNG},
	{JPEG, []string{".jpg", ".jpeg"}, encodeJPEG},
	{WebP, []string{".webp"}, encodeWebP},
}

// Encode encodes an opaque picture with its parameters in the metadata, where AUTOMATIC1111's
// web UI and the tools around it look for them. The same picture and parameters give the
// same bytes.
func Encode(name Format, picture *image.NRGBA, parameters Parameters) ([]byte, error) {
	for _, f := range formats {
		if f.name == name {
			file, err := f.encode(picture, parameters)
			if err != nil {
				return nil, fmt.Errorf("encoding %s: %w", name, err)
			}
			return file, nil
		}
	}
	return nil, fmt.Errorf("format %q: must be one of %s", name, formatNames())
}

// Extension is what names of files in the format end in, such as .png; "" for a format
// that there is none of.
func (f Format) Extension() string {
	for _, known := range formats {
		if known.name == f {
			return known.extensions[0]
		}
	}
	return ""
}

// FormatOf finds a format by an extension such as .png or .JPEG.
func FormatOf(extension string) (Format, bool) {
	for _, f := range formats {
		if slices.Contains(f.extensions, strings.ToLower(extension)) {
			return f.name, true
		}
	}
	return "", false
}

// Extensions are all that FormatOf knows.
func Extensions() []string {
	var all []string
	for _, f := range formats {
		all = append(all, f.extensions...)
	}
	return all
}

func formatNames() string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f.name)
	}
	return strings.Join(names, ", ")
}
