package state

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// formatVersion is the version of the layout of the directory, its keys and
// values; the others are those that are upgraded to it.
const (
	formatVersion = "3"
	formatBefore  = "2"
	formatFirst   = "1"
)

// Kinds of keys of a pipeline. DESIGN.md has the table.
const (
	kindBody       byte = 'b'
	kindCheckpoint byte = 'c'
	kindDeadLetter byte = 'd'
	kindEpoch      byte = 'e'
	kindSteps      byte = 'f'
	kindGap        byte = 'g'
	kindModule     byte = 'm'
	kindOutbox     byte = 'o'
	kindOrder      byte = 'p'
	kindUsed       byte = 'q'
	kindReplays    byte = 'y'
	kindRequest    byte = 'r'
	kindRuns       byte = 'h' // of a schedule
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

// cutPipeline reads the pipeline's name and the kind of a key.
func cutPipeline(key []byte) (name string, kind byte, ok bool) {
	if len(key) == 0 || key[0] != 1 {
		return "", 0, false
	}
	name, rest, err := cutText(key[1:])
	if err != nil || len(rest) == 0 {
		return "", 0, false
	}
	return name, rest[0], true
}

// schemaKey orders definitions as they were put.
func schemaKey(pipeline string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(pipelineKey(pipeline, kindSchema), n)
}

// deadLetterKey names a row and a step: the same row refused twice is one record.
func deadLetterKey(pipeline string, d DeadLetterKey) []byte {
	k := appendText(pipelineKey(pipeline, kindDeadLetter), d.Step)
	return binary.BigEndian.AppendUint64(appendText(k, d.Tx), d.Row)
}

// outboxKey names a dead letter that is to be published.
func outboxKey(pipeline string, d DeadLetterKey) []byte {
	k := appendText(pipelineKey(pipeline, kindOutbox), d.Step)
	return binary.BigEndian.AppendUint64(appendText(k, d.Tx), d.Row)
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

// requestKey names a copy of tables that somebody asked for, and orders them as
// they were asked for.
func requestKey(pipeline string, id uint64) []byte {
	return binary.BigEndian.AppendUint64(pipelineKey(pipeline, kindRequest), id)
}

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

// apart begins the keys of modules and of dead letters' rows. They are megabytes, and
// a table is read a block of neighbouring keys at a time: here they have no neighbours
// that are asked for with each row.
const apart = "\x00\x00"

// modulesKey returns the prefix of the keys of a pipeline's modules.
func modulesKey(pipeline string) []byte {
	return append([]byte(apart), pipelineKey(pipeline, kindModule)...)
}

// moduleKey names a module by its digest.
func moduleKey(pipeline, digest string) []byte { return append(modulesKey(pipeline), digest...) }

// pieceBytes is how many bytes of a module, or of a dead letter's row, are in one
// value. Each value of such a size is a block; of one that is damaged Pebble takes a
// checksum some 300,000 times, to say which bit it is, before it says anything.
const pieceBytes = 64 << 10

// modulePieceKey is the key of piece n of a module.
func modulePieceKey(pipeline, digest string, n uint32) []byte {
	return binary.BigEndian.AppendUint32(moduleKey(pipeline, digest), n)
}

// bodiesKey returns the prefix of the keys of the rows of a pipeline's dead letters.
func bodiesKey(pipeline string) []byte {
	return append([]byte(apart), pipelineKey(pipeline, kindBody)...)
}

// bodyPieceKey is the key of piece n of a dead letter's row.
func bodyPieceKey(pipeline string, id uint64, n uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(bodiesKey(pipeline), id), n)
}

// cutBodyPiece reads what follows the prefix in a piece's key.
func cutBodyPiece(rest []byte) (id uint64, n uint32, err error) {
	if len(rest) != 12 {
		return 0, 0, errKey
	}
	return binary.BigEndian.Uint64(rest), binary.BigEndian.Uint32(rest[8:]), nil
}

// usedKey is the size of what a step's connector keeps.
func usedKey(pipeline, step string) []byte {
	return appendText(pipelineKey(pipeline, kindUsed), step)
}

// replaysKey is the highest number that a replay has had.
func replaysKey(pipeline string) []byte { return pipelineKey(pipeline, kindReplays) }

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
