// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"
	"unicode/utf16"
)

// jpegQuality is where most people see no difference to the original.
const jpegQuality = 95

// maxPromptUnits bounds each prompt in a JPEG file, in UTF-16 units: an Exif segment has at
// most 65,533 bytes, for both prompts and the parameters after them.
const maxPromptUnits = 15_000

// What JPEG files begin with, and what Exif segments do.
const (
	startOfImage   = "\xff\xd8"
	exifIdentifier = "Exif\x00\x00"
)

// encodeJPEG puts the Exif segment where Exif wants it, right after the start of the image.
func encodeJPEG(picture *image.NRGBA, parameters Parameters) ([]byte, error) {
	// The same pixels: without transparency the two kinds of picture are one, and this is
	// the kind that the encoder is fast with.
	opaque := &image.RGBA{Pix: picture.Pix, Stride: picture.Stride, Rect: picture.Rect}
	var encoded bytes.Buffer
	if err := jpeg.Encode(&encoded, opaque, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, err
	}
	parameters.Prompt = shorten(parameters.Prompt, maxPromptUnits)
	parameters.NegativePrompt = shorten(parameters.NegativePrompt, maxPromptUnits)
	block := exif(parameters.String())
	const app1 = "\xff\xe1"
	file := make([]byte, 0, encoded.Len()+len(app1)+2+len(exifIdentifier)+len(block))
	file = append(file, startOfImage+app1...)
	file = binary.BigEndian.AppendUint16(file, uint16(2+len(exifIdentifier)+len(block)))
	file = append(file, exifIdentifier...)
	file = append(file, block...)
	return append(file, encoded.Bytes()[len(startOfImage):]...), nil
}

// shorten cuts text to at most limit UTF-16 units, with an ellipsis in place of the rest.
func shorten(text string, limit int) string {
	units := 0
	cut := 0 // Where text with the ellipsis still fits.
	for i, r := range text {
		if units <= limit-1 {
			cut = i
		}
		if units += utf16.RuneLen(r); units > limit {
			return text[:cut] + "…"
		}
	}
	return text
}
