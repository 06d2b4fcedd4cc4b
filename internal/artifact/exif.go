// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"encoding/binary"
	"unicode/utf16"
)

// Tags and types of the TIFF structure that Exif is.
const (
	tagExif        = 0x8769
	tagUserComment = 0x9286
	typeLong       = 4
	typeUndefined  = 7
)

// userCommentUnicode begins a UserComment in UTF-16. Exif leaves the order of the bytes open;
// the web UI's, from the library piexif, is big-endian.
const userCommentUnicode = "UNICODE\x00"

// exif makes an Exif block, without the identifier that JPEG puts before it, whose one field
// is the UserComment: where the web UI writes and reads the parameters of a generation.
//
//	header: MM, 42, offset of the first directory
//	directory 0: one entry, which is the offset of the Exif directory
//	Exif directory: one entry, which is length and offset of the comment
func exif(text string) []byte {
	const (
		header     = 8
		directory  = 2 + 12 + 4 // Count, one entry, no next directory.
		exifOffset = header + directory
		textOffset = exifOffset + directory
	)
	comment := userComment(text)
	out := make([]byte, 0, textOffset+len(comment))
	out = append(out, "MM\x00\x2a"...)
	out = binary.BigEndian.AppendUint32(out, header)
	out = appendDirectory(out, tagExif, typeLong, 1, exifOffset)
	out = appendDirectory(out, tagUserComment, typeUndefined, len(comment), textOffset)
	return append(out, comment...)
}

// appendDirectory appends a directory of one entry.
func appendDirectory(out []byte, tag, kind uint16, count, value int) []byte {
	out = binary.BigEndian.AppendUint16(out, 1)
	out = binary.BigEndian.AppendUint16(out, tag)
	out = binary.BigEndian.AppendUint16(out, kind)
	out = binary.BigEndian.AppendUint32(out, uint32(count))
	out = binary.BigEndian.AppendUint32(out, uint32(value))
	return binary.BigEndian.AppendUint32(out, 0)
}

// userComment is text as a UserComment.
func userComment(text string) []byte {
	out := []byte(userCommentUnicode)
	for _, unit := range utf16.Encode([]rune(text)) {
		out = binary.BigEndian.AppendUint16(out, unit)
	}
	return out
}
