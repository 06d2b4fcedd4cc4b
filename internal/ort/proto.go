// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxText bounds names and paths inside a graph.
const maxText = 1 << 16

// protoReader walks a protocol buffer in a file without reading what nobody asks for:
// a graph may hold gigabytes of weights between the few names that matter.
type protoReader struct {
	file io.ReadSeeker
	buf  *bufio.Reader
	// offset of the next byte.
	offset int64
	// number of the field that message calls back for, where it is a varint.
	number uint64
}

func newProtoReader(file io.ReadSeeker) *protoReader {
	return &protoReader{file: file, buf: bufio.NewReader(file)}
}

// message calls field for each field of the message that ends at end. For a field with
// a length, fieldEnd is where it ends, and what field leaves unread is skipped.
func (r *protoReader) message(end int64, field func(number, fieldEnd int64) error) error {
	for r.offset < end {
		start := r.offset
		tag, err := r.varint()
		if err != nil {
			return err
		}
		fieldEnd, err := r.extent(tag & 7)
		if err != nil {
			return err
		}
		if fieldEnd > end {
			return fmt.Errorf("the field at byte %d reaches to byte %d, beyond byte %d", start, fieldEnd, end)
		}
		if err := field(int64(tag>>3), fieldEnd); err != nil {
			return err
		}
		if err := r.skipTo(fieldEnd); err != nil {
			return err
		}
	}
	if r.offset > end {
		return fmt.Errorf("a field reaches to byte %d, beyond byte %d", r.offset, end)
	}
	return nil
}

// extent says where the value of a field ends, after its length or number was read.
func (r *protoReader) extent(wireType uint64) (int64, error) {
	switch wireType {
	case 0:
		number, err := r.varint()
		r.number = number
		return r.offset, err
	case 1:
		return r.offset + 8, nil
	case 2:
		length, err := r.varint()
		if err != nil {
			return 0, err
		}
		if length > 1<<60 {
			return 0, fmt.Errorf("a field at byte %d claims to be %d bytes long", r.offset, length)
		}
		return r.offset + int64(length), nil
	case 5:
		return r.offset + 4, nil
	}
	return 0, fmt.Errorf("byte %d begins no field", r.offset)
}

// text reads a string that ends at end.
func (r *protoReader) text(end int64) (string, error) {
	if n := end - r.offset; n > maxText {
		return "", fmt.Errorf("the name at byte %d is %d bytes long", r.offset, n)
	}
	b, err := r.bytes(end)
	return string(b), err
}

// entry reads a StringStringEntryProto.
func (r *protoReader) entry(end int64) (key, value string, err error) {
	err = r.message(end, func(field, end int64) (err error) {
		switch field {
		case entryKey:
			key, err = r.text(end)
		case entryValue:
			value, err = r.text(end)
		}
		return err
	})
	return key, value, err
}

// bytes reads what is up to end, of which the caller has made sure that it is not much.
func (r *protoReader) bytes(end int64) ([]byte, error) {
	b := make([]byte, max(end-r.offset, 0))
	if _, err := io.ReadFull(r.buf, b); err != nil {
		return nil, r.ended(err)
	}
	r.offset = end
	return b, nil
}

func (r *protoReader) varint() (uint64, error) {
	v, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, r.ended(err)
	}
	return v, nil
}

// ReadByte makes the reader fit for binary.ReadUvarint.
func (r *protoReader) ReadByte() (byte, error) {
	b, err := r.buf.ReadByte()
	if err == nil {
		r.offset++
	}
	return b, err
}

// skipTo goes on to a later offset, seeking over what is not buffered yet.
func (r *protoReader) skipTo(offset int64) error {
	n := offset - r.offset
	if n < 0 {
		return fmt.Errorf("a field ends at byte %d, but what is in it reaches to byte %d", offset, r.offset)
	}
	if n <= int64(r.buf.Buffered()) {
		_, err := r.buf.Discard(int(n))
		r.offset = offset
		return err
	}
	if _, err := r.file.Seek(n-int64(r.buf.Buffered()), io.SeekCurrent); err != nil {
		return err
	}
	r.buf.Reset(r.file)
	r.offset = offset
	return nil
}

// ended says where a file ended that should have gone on.
func (r *protoReader) ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ends in the middle of a field, at byte %d", r.offset)
	}
	return fmt.Errorf("byte %d: %w", r.offset, err)
}
