package state

import (
	"encoding/json"
	"fmt"
)

// LoadRuns returns what was recorded of the pipeline's runs, in the form of
// whoever did; ok is false without it.
func (p *Pipeline) LoadRuns() (record json.RawMessage, ok bool, err error) {
	v, ok, err := p.s.get(pipelineKey(p.name, kindRuns))
	if err != nil || !ok {
		return nil, false, err
	}
	if err := decodeJSON(v, &record); err != nil {
		return nil, false, p.s.corrupt(fmt.Errorf("runs of %s: %w", p.name, err))
	}
	return record, true, nil
}

// RecordRuns makes a record durable, in place of the one before.
func (p *Pipeline) RecordRuns(record json.RawMessage) error {
	v, err := encodeJSON(&record)
	if err != nil {
		return p.s.writeFailed(err)
	}
	return p.set(pipelineKey(p.name, kindRuns), v)
}
