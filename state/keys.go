package state

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// formatVersion is the version of the layout of keys and values.
const formatVersion = "1"

// Kinds of keys of a pipeline. DESIGN.md has the table.
const (
	kindCheckpoint byte = 'c'
	kindDeadLetter byte = 'd'
	kindEpoch      byte = 'e'
	kindSteps      byte = 'f'
	kindGap        byte = 'g'
	kindUsed       byte = 'q'
	kindTrimmed    byte = 't'
	kindUndo       byte = 'u'
	kindValue      byte = 'k'
	kindSchema     byte = 's'
)

var errKey = errors.New("not a key of this layout")

func formatKey() []byte { return []byte("\x00format") }

// appendText appends text so that keys sort as their texts do, whatever bytes
// follow: 0x00 is written as 0x00 0xff, and 0x00 0x01 ends the text.
func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		dst = append(dst, s[i])
		if s[i] == 0 {
			dst = append(dst, 0xff)
		}
	}
	return append(dst, 0, 1)
}

// cutText is the inverse of appendText.
func cutText(key []byte) (text string, rest []byte, err error) {
	var b []byte
	for i := 0; i+1 < len(key); i++ {
		if key[i] != 0 {
			b = append(b, key[i])
			continue
		}
		switch key[i+1] {
		case 1:
			return string(b), key[i+2:], nil
		case 0xff:
			b = append(b, 0)
			i++
		default:
			return "", nil, errKey
		}
	}
	return "", nil, errKey
}

// pipelineKey returns the prefix of one kind of a pipeline's keys.
func pipelineKey(pipeline string, kind byte) []byte {
	return append(appendText([]byte{1}, pipeline), kind)
}

// schemaKey orders definitions as they were put.
func schemaKey(pipeline string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(pipelineKey(pipeline, kindSchema), n)
}

// deadLetterKey names a row and a step: the same row refused twice is one record.
func deadLetterKey(pipeline, step, tx string, row uint64) []byte {
	k := appendText(pipelineKey(pipeline, kindDeadLetter), step)
	return binary.BigEndian.AppendUint64(appendText(k, tx), row)
}

// cutDeadLetter reads what follows the prefix in a dead letter's key.
func cutDeadLetter(rest []byte) (step, tx string, row uint64, err error) {
	if step, rest, err = cutText(rest); err != nil {
		return "", "", 0, err
	}
	if tx, rest, err = cutText(rest); err != nil {
		return "", "", 0, err
	}
	if len(rest) != 8 {
		return "", "", 0, errKey
	}
	return step, tx, binary.BigEndian.Uint64(rest), nil
}

// gapKey names a gap.
func gapKey(pipeline, key string) []byte { return append(pipelineKey(pipeline, kindGap), key...) }

// valueKey names a connector's own value.
func valueKey(pipeline, step string, key []byte) []byte {
	return append(appendText(pipelineKey(pipeline, kindValue), step), key...)
}

// undoKey orders what takes back batches' changes as these were made.
func undoKey(pipeline string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(pipelineKey(pipeline, kindUndo), n)
}

// epochKey is a number under which the pipeline claimed its sink, or meant to.
func epochKey(pipeline string, epoch uint64) []byte {
	return binary.BigEndian.AppendUint64(pipelineKey(pipeline, kindEpoch), epoch)
}

// usedKey is the size of what a step's connector keeps.
func usedKey(pipeline, step string) []byte {
	return appendText(pipelineKey(pipeline, kindUsed), step)
}

// trimmedKey is there once the oldest changes can't be taken back any more.
func trimmedKey(pipeline string) []byte { return pipelineKey(pipeline, kindTrimmed) }

// prefixEnd returns the first key behind all keys with the prefix.
func prefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
