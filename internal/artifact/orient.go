// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
)

// tagOrientation says in Exif how a picture is to be turned.
const tagOrientation = 0x0112

// upright turns a picture as the Exif block of its JPEG file says: cameras write pixels as
// their sensor lies. diffusers' load_image does so too, by Pillow's exif_transpose.
func upright(picture image.Image, file []byte) image.Image {
	orientation := orientationOf(exifOf(file))
	if orientation < 2 {
		return picture
	}
	return turned{picture, orientation}
}

// exifOf finds the Exif block of a JPEG file; nil where there is none.
func exifOf(file []byte) []byte {
	rest, ok := bytes.CutPrefix(file, []byte(startOfImage))
	for ok && len(rest) >= 4 && rest[0] == 0xff && rest[1] >= 0xe0 {
		marker, length := rest[1], int(binary.BigEndian.Uint16(rest[2:]))
		if length < 2 || 2+length > len(rest) {
			return nil
		}
		if block, found := bytes.CutPrefix(rest[4:2+length], []byte(exifIdentifier)); found && marker == 0xe1 {
			return block
		}
		rest = rest[2+length:]
	}
	return nil
}

// orientationOf reads the orientation out of an Exif block: 1 to 8, and 0 where it does not say.
func orientationOf(block []byte) int {
	if len(block) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.BigEndian
	if block[0] == 'I' {
		order = binary.LittleEndian
	}
	at := uint64(order.Uint32(block[4:]))
	if at+2 > uint64(len(block)) {
		return 0
	}
	entries := block[at+2:]
	for range order.Uint16(block[at:]) {
		if len(entries) < 12 {
			return 0
		}
		if value := int(order.Uint16(entries[8:])); order.Uint16(entries) == tagOrientation && value <= 8 {
			return value
		}
		entries = entries[12:]
	}
	return 0
}

// turned is a picture in one of the orientations 2 to 8 of Exif.
type turned struct {
	image.Image
	orientation int
}

// Bounds are upright: from 5 on width and height change places.
func (t turned) Bounds() image.Rectangle {
	size := t.Image.Bounds().Size()
	if t.orientation >= 5 {
		size = image.Pt(size.Y, size.X)
	}
	return image.Rectangle{Max: size}
}

// At finds where the pixel is in the file. What Exif numbers is which side of the picture
// its first row and column are.
func (t turned) At(x, y int) color.Color {
	bounds := t.Image.Bounds()
	right, bottom := t.Bounds().Dx()-1-x, t.Bounds().Dy()-1-y
	switch t.orientation {
	case 2: // First row at the top, first column at the right.
		x = right
	case 3: // Bottom, right.
		x, y = right, bottom
	case 4: // Bottom, left.
		y = bottom
	case 5: // Left, top.
		x, y = y, x
	case 6: // Right, top.
		x, y = y, right
	case 7: // Right, bottom.
		x, y = bottom, right
	case 8: // Left, bottom.
		x, y = bottom, x
	}
	return t.Image.At(bounds.Min.X+x, bounds.Min.Y+y)
}
