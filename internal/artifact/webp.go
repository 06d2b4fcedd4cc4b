// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"encoding/binary"
	"image"

	"github.com/atelier-dev/atelier/internal/artifact/vp8l"
)

// encodeWebP writes the extended format (VP8X), which is the one with room for metadata.
func encodeWebP(picture *image.NRGBA, parameters Parameters) ([]byte, error) {
	bitstream, err := vp8l.Encode(picture)
	if err != nil {
		return nil, err
	}
	const hasExif = 1 << 3
	extended := []byte{hasExif, 0, 0, 0}
	extended = appendUint24(extended, picture.Rect.Dx()-1)
	extended = appendUint24(extended, picture.Rect.Dy()-1)
	body := appendChunk([]byte("WEBP"), "VP8X", extended)
	body = appendChunk(body, "VP8L", bitstream)
	body = appendChunk(body, "EXIF", exif(parameters.String()))
	return appendChunk(nil, "RIFF", body), nil
}

// appendChunk frames data as RIFF does: kind, length, data, and a zero where the length is odd.
func appendChunk(out []byte, kind string, data []byte) []byte {
	out = append(out, kind...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(data)))
	out = append(out, data...)
	if len(data)%2 != 0 {
		out = append(out, 0)
	}
	return out
}

// appendUint24 appends the low three bytes of a number, the lowest first.
func appendUint24(out []byte, v int) []byte { return append(out, byte(v), byte(v>>8), byte(v>>16)) }
