// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
)

// keyword is where tools look for the parameters of a generation.
const keyword = "parameters"

// headerLength is the PNG signature and the IHDR chunk, which comes first in every file.
const headerLength = 8 + 12 + 13

// encodePNG puts the parameters into a text chunk before the picture's data.
func encodePNG(picture *image.NRGBA, parameters Parameters) ([]byte, error) {
	var encoded bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.DefaultCompression, BufferPool: &encoderBuffers}
	if err := encoder.Encode(&encoded, picture); err != nil {
		return nil, err
	}
	text := textChunk(parameters.String())
	file := make([]byte, 0, encoded.Len()+len(text))
	file = append(file, encoded.Bytes()[:headerLength]...)
	file = append(file, text...)
	return append(file, encoded.Bytes()[headerLength:]...), nil
}

// textChunk makes the metadata chunk. tEXt holds Latin-1 only, so that any other text
// goes into an iTXt chunk, which is UTF-8. Readers take the keyword from either; writing
// tEXt where it suffices is what Pillow, and so most tools, do.
func textChunk(text string) []byte {
	latin1 := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 0xFF || r == 0 {
			// Keyword, NUL, not compressed, no method, no language tag, no
			// translated keyword, then the text.
			return chunk("iTXt", []byte(keyword+"\x00\x00\x00\x00\x00"+text))
		}
		latin1 = append(latin1, byte(r))
	}
	return chunk("tEXt", append([]byte(keyword+"\x00"), latin1...))
}

// chunk frames data as PNG does: length, kind, data, checksum of kind and data.
func chunk(kind string, data []byte) []byte {
	out := make([]byte, 0, 12+len(data))
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	out = append(out, kind...)
	out = append(out, data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}
