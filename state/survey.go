package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// damageMax bounds how many damaged records a Survey names.
const damageMax = 100

// Survey is what a store holds, and what of it is damaged.
type Survey struct {
	Layout    string           `json:"layout"`
	Records   int              `json:"records"`
	Bytes     int64            `json:"bytes"` // keys and values
	Pipelines []PipelineSurvey `json:"pipelines"`
	Damage    []string         `json:"damage,omitempty"`
}

// PipelineSurvey is what a store holds of one pipeline.
type PipelineSurvey struct {
	Pipeline    string      `json:"pipeline"`
	Checkpoint  *Checkpoint `json:"checkpoint,omitempty"`
	Schemas     int         `json:"schemas"`
	DeadLetters int         `json:"dead_letters"`
	Gaps        int         `json:"gaps"`
	Values      int         `json:"values"` // that connectors keep
	ValueBytes  int64       `json:"value_bytes"`
	Undo        int         `json:"undo"` // batches of which values can be taken back
	used, sizes map[string]int64
	bodies      map[uint64]*body // those that no owner was found of yet
}

// Survey reads every block, key and value, and checks each. A store that can't be
// read to its end has that as its last damage.
func (s *Store) Survey() (*Survey, error) {
	v := &Survey{Pipelines: []PipelineSurvey{}}
	pipelines := map[string]*PipelineSurvey{}
	if err := s.enter(); err != nil {
		return nil, err
	}
	err := s.db.CheckLevels(&pebble.CheckLevelsStats{})
	s.leave()
	if err != nil {
		v.damage("tables: %v", err)
	}
	err = s.each(nil, func(key, value []byte) error {
		v.Records++
		v.Bytes += int64(len(key) + len(value))
		if string(key) == string(formatKey()) {
			v.Layout = string(value)
			return nil
		}
		key = bytes.TrimPrefix(key, []byte(apart))
		name, kind, ok := cutPipeline(key)
		if !ok {
			v.damage("key %q: %v", key, errKey)
			return nil
		}
		p := pipelines[name]
		if p == nil {
			p = &PipelineSurvey{Pipeline: name, used: map[string]int64{}, sizes: map[string]int64{}, bodies: map[uint64]*body{}}
			pipelines[name] = p
		}
		if err := p.record(kind, key[len(pipelineKey(name, kind)):], value); err != nil {
			v.damage("pipeline %s, key %q: %v", name, key, err)
		}
		return nil
	})
	if err != nil {
		v.damage("%v", err)
	}
	for _, p := range pipelines {
		for step, n := range p.sizes {
			if err == nil && p.used[step] != n {
				v.damage("pipeline %s: step %s keeps %d bytes and has %d on record", p.Pipeline, step, n, p.used[step])
			}
		}
		if n := len(p.bodies); err == nil && n > 0 {
			v.damage("pipeline %s: %d rows belong to no dead letter", p.Pipeline, n)
		}
		v.Pipelines = append(v.Pipelines, *p)
	}
	slices.SortFunc(v.Pipelines, func(a, b PipelineSurvey) int { return strings.Compare(a.Pipeline, b.Pipeline) })
	slices.Sort(v.Damage)
	return v, nil
}

func (v *Survey) damage(format string, args ...any) {
	if len(v.Damage) < damageMax {
		v.Damage = append(v.Damage, fmt.Sprintf(format, args...))
	}
}

// checkModule checks a module, or a piece of one; rest is its key behind the kind.
func checkModule(rest, code []byte) error {
	switch sum := sha256.Sum256(code); len(rest) {
	case 2 * sha256.Size: // in one piece
		if hex.EncodeToString(sum[:]) != string(rest) {
			return errValue
		}
	case 2*sha256.Size + 4: // a piece; its block has a checksum
	default:
		return errKey
	}
	return nil
}

// record counts and checks one record; rest is its key behind the kind.
func (p *PipelineSurvey) record(kind byte, rest, value []byte) (err error) {
	if len(value) == 0 || value[0] != valueVersion && (kind != kindDeadLetter || value[0] > letterVersion) {
		return errValue
	}
	numbered := func() error {
		if len(rest) != 8 {
			return errKey
		}
		return nil
	}
	switch kind {
	case kindCheckpoint:
		p.Checkpoint = &Checkpoint{}
		return decodeJSON(value, p.Checkpoint)
	case kindOrder:
		return decodeJSON(value, &MoveOrder{})
	case kindRuns:
		var record json.RawMessage
		return decodeJSON(value, &record)
	case kindSteps:
		return decodeJSON(value, &Steps{})
	case kindModule:
		return checkModule(rest, value[1:])
	case kindSchema:
		p.Schemas++
		_, _, err = decodeSchema(value)
		return errors.Join(err, numbered())
	case kindBody:
		return p.piece(rest, value[1:])
	case kindDeadLetter:
		p.DeadLetters++
		return p.letter(rest, value)
	case kindGap:
		p.Gaps++
	case kindOutbox:
		_, _, _, err = cutDeadLetter(rest)
		return err
	case kindEpoch, kindRequest:
		return numbered()
	case kindUndo:
		p.Undo++
		return errors.Join(p.taken(value), numbered())
	case kindValue:
		step, key, err := cutText(rest)
		size := int64(len(key) + len(value) - 1)
		p.Values++
		p.ValueBytes += size
		p.sizes[step] += size
		return err
	case kindUsed:
		step, _, err := cutText(rest)
		n, k := binary.Varint(value[1:])
		if k <= 0 {
			return errValue
		}
		p.used[step] = n
		return err
	case kindReplays:
		if n, k := binary.Uvarint(value[1:]); k <= 0 || n == 0 {
			return errValue
		}
	case kindTrimmed:
	default:
		return errKey
	}
	return nil
}

// piece takes note of a piece of a body. Pieces come in order, and before what they
// belong to.
func (p *PipelineSurvey) piece(rest, part []byte) error {
	id, n, err := cutBodyPiece(rest)
	if err != nil {
		return err
	}
	x := p.bodies[id]
	if x == nil {
		x = &body{id: id}
		p.bodies[id] = x
	}
	if x.bytes != int(n)*pieceBytes || len(part) == 0 || len(part) > pieceBytes {
		return errBody
	}
	x.bytes += len(part)
	x.sum = sumBody(x.sum, part)
	return nil
}

// own checks the body of a record: it is there, as it was written, and nobody else's.
func (p *PipelineSurvey) own(x body) error {
	have := p.bodies[x.id]
	if have == nil || *have != x {
		return errBody
	}
	delete(p.bodies, x.id)
	return nil
}

// taken checks what takes back a batch's changes.
func (p *PipelineSurvey) taken(value []byte) error {
	rec, err := decodeRecord(value)
	if err != nil {
		return err
	}
	bodies, err := rec.owned()
	for _, x := range bodies {
		err = errors.Join(err, p.own(x))
	}
	return err
}

// letter checks a dead letter; rest is its key behind the kind.
func (p *PipelineSurvey) letter(rest, value []byte) error {
	step, tx, row, err := cutDeadLetter(rest)
	if err != nil {
		return err
	}
	d, err := cutLetter(value)
	if err == nil && d.row != nil {
		err = d.open(d.row)
	} else if err == nil {
		err = p.own(d.body)
	}
	if err != nil {
		return fmt.Errorf("dead letter %s: %w", DeadLetterKey{step, tx, row}, err)
	}
	return nil
}
