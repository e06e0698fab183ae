package consume

import (
	"encoding/json"
	"fmt"
)

// tallySubjectsMax is the most subjects of a transaction that are counted: no
// tx_end names more.
const tallySubjectsMax = 1000

// tally counts the rows of a transaction that comes in parts, on all subjects, to
// compare them with what its tx_end says. A transaction of which the Reader has
// not seen the beginning is not counted.
type tally struct {
	tx    string // that is counted; "" for none
	by    map[string]uint64
	total uint64
	over  bool // it has more subjects than are counted
}

// add counts a row.
func (t *tally) add(p Place, subject string) {
	if p.N == 0 {
		if t.by == nil {
			t.by = map[string]uint64{}
		}
		clear(t.by)
		t.tx, t.total, t.over = p.Tx, 0, false
	}
	if t.tx != p.Tx {
		t.tx = ""
		return
	}
	t.total++
	if n, known := t.by[subject]; known || len(t.by) < tallySubjectsMax {
		t.by[subject] = n + 1
	} else {
		t.over = true
	}
}

// check compares what was counted with the body of the transaction's tx_end.
func (t *tally) check(p Place, body []byte) error {
	if t.tx == "" || t.tx != p.Tx {
		return nil
	}
	t.tx = ""
	var end struct {
		Messages uint64            `json:"messages"`
		Subjects map[string]uint64 `json:"subjects"`
	}
	if err := json.Unmarshal(body, &end); err != nil {
		return fmt.Errorf("%w: the end of transaction %s: %w", ErrForeign, p.Tx, err)
	}
	if end.Messages != t.total {
		return fmt.Errorf("%w: transaction %s has %d, and its end counts %d", ErrMissing, p.Tx, t.total, end.Messages)
	}
	if end.Subjects == nil || t.over {
		return nil
	}
	if len(end.Subjects) != len(t.by) {
		return fmt.Errorf("%w: transaction %s is on %d subjects, and its end counts %d", ErrMissing, p.Tx, len(t.by), len(end.Subjects))
	}
	for subject, n := range end.Subjects {
		if t.by[subject] != n {
			return fmt.Errorf("%w: transaction %s has %d on %s, and its end counts %d", ErrMissing, p.Tx, t.by[subject], subject, n)
		}
	}
	return nil
}
