package guest

import (
	"errors"
	"slices"
	"strconv"

	"github.com/cdcd-io/cdcd/sdk"
)

// Connector is what an author writes. Its methods are called from one
// goroutine at a time.
type Connector interface {
	// Init configures the instance from the JSON under `with:`, "{}" when there
	// is none. An error says what is wrong with it and how to write it.
	Init(config []byte) error

	// Schema is told every table before its first row. It returns the schema of
	// the rows that the connector gives for it, or nil for the same. The id stays
	// in's, whatever the result says. Where the result has other columns than in, no row of the table may
	// be passed or edited in place: all are replaced, dropped or refused.
	Schema(in *sdk.Schema) (*sdk.Schema, error)

	// Row decides about one row.
	//
	// VerdictEdited: the row's images were changed through their setters.
	// sdk.ErrFull from a setter is returned as it is; the row comes again,
	// untouched, with more room.
	// VerdictReplaced: the rows that were given to out stand in its place.
	// VerdictDeadLetter, or an error: the row is refused, with out.Refuse's or the
	// error's text as the reason; the pipeline's on_error decides what follows.
	// A *sdk.Error stops the whole batch instead.
	Row(r sdk.Row, out *Output) (sdk.Verdict, error)
}

// Warmer may be implemented by connectors whose Init takes long for reasons
// that are the same for every configuration, such as encoding/json making
// itself acquainted with a type. Warm is called while the module starts, by
// Register, and what it leaves in memory is there in all instances: the host
// starts a module once, and has the others begin with a copy. It must not
// print, use capabilities, or depend on package-level variables that are
// declared behind Register.
type Warmer interface{ Warm() }

// Instance is a connector in the midst of its host. Its methods are the ABI's
// calls with Go's types; the WebAssembly exports wrap them.
type Instance struct {
	connector Connector
	bufs      [3][]byte
	schemas   []*sdk.Schema // by id, as the host announced them
	batch     sdk.Batch
	out       Output
	verdicts  []byte
	result    [sdk.ResultSize]byte
	encoded   []byte // the last schema given to the host
	failure   []byte // the text of the last error
}

// New returns an instance of the connector that nothing has called yet.
func New(c Connector) *Instance { return &Instance{connector: c} }

// schemaIDMax bounds the ids that an instance keeps schemas for. The host's
// ids are dense.
const schemaIDMax = 1 << 20

// Buf returns the buffer of the given kind with room for at least size bytes:
// a sdk.BufConfig, sdk.BufSchema or sdk.BufBatch. It is nil for other kinds.
func (i *Instance) Buf(kind uint32, size int) []byte {
	if int(kind) >= len(i.bufs) || size < 0 {
		return nil
	}
	if len(i.bufs[kind]) < size {
		i.bufs[kind] = make([]byte, size)
	}
	return i.bufs[kind]
}

// Init configures the connector from the first n bytes of the configuration
// buffer.
func (i *Instance) Init(n int) error {
	if n < 0 || n > len(i.bufs[sdk.BufConfig]) {
		return &sdk.Error{Code: sdk.CodeBadConfig, Message: "the configuration is longer than its buffer"}
	}
	return coded(sdk.CodeBadConfig, i.connector.Init(i.bufs[sdk.BufConfig][:n]))
}

// Schema announces the schema in the first n bytes of the schema buffer and
// returns the encoding of the connector's own, nil for the same.
func (i *Instance) Schema(n int) ([]byte, error) {
	if n < 0 || n > len(i.bufs[sdk.BufSchema]) {
		return nil, &sdk.Error{Code: sdk.CodeBadSchema, Message: "the schema is longer than its buffer"}
	}
	in, err := sdk.DecodeSchema(i.bufs[sdk.BufSchema][:n])
	if err != nil {
		return nil, coded(sdk.CodeBadSchema, err)
	}
	if in.ID > schemaIDMax {
		return nil, &sdk.Error{Code: sdk.CodeBadSchema, Message: "schema id " + strconv.Itoa(int(in.ID)) + " is out of range"}
	}
	out, err := i.connector.Schema(in)
	if err != nil {
		return nil, coded(sdk.CodeBadSchema, err)
	}
	for len(i.schemas) <= int(in.ID) {
		i.schemas = append(i.schemas, nil)
	}
	i.schemas[in.ID] = in
	if out == nil || out == in {
		return nil, nil
	}
	out.ID = in.ID
	i.encoded = sdk.AppendSchema(i.encoded[:0], out)
	return i.encoded, nil
}

// Transform processes the batch in the first n bytes of the batch buffer, from
// its first row that is not done. The result's addresses are those of the
// instance's own buffers; Verdicts, Output and Reasons give the bytes.
func (i *Instance) Transform(n int) (sdk.Result, error) {
	if n < 0 || n > len(i.bufs[sdk.BufBatch]) {
		return sdk.Result{}, &sdk.Error{Code: sdk.CodeBadBatch, Message: "the batch is longer than its buffer"}
	}
	if err := i.batch.Attach(i.bufs[sdk.BufBatch][:n], i.schemas); err != nil {
		return sdk.Result{}, coded(sdk.CodeBadBatch, err)
	}
	working = i
	defer func() { working = nil }()
	if onBatch != nil {
		onBatch()
	}
	first, rows := i.batch.FirstRow(), i.batch.Rows()
	i.verdicts = slices.Grow(i.verdicts[:0], rows-first)
	i.out.reset(&i.batch)
	row, want, err := i.rows(first, rows)
	if err != nil {
		return sdk.Result{}, err
	}
	output := i.out.seal()
	res := sdk.Result{RowsDone: uint32(row), Want: want,
		VerdictsAddr: address(i.verdicts), VerdictsLen: uint32(len(i.verdicts)),
		OutputAddr: address(output), OutputLen: uint32(len(output)),
		ReasonsAddr: address(i.out.reasons), ReasonsLen: uint32(len(i.out.reasons))}
	res.Put(i.result[:])
	return res, nil
}

// rows asks the connector about each row, and files what it answers. It returns
// how many rows are done in all, and the capacity wanted for the rest.
//
// In WebAssembly a call of Go costs as much as a dozen field accesses, so that
// the common answers take none but the connector's own.
func (i *Instance) rows(first, rows int) (done int, want uint32, err error) {
	out := &i.out
	for row := first; row < rows; row++ {
		if out.begun && out.builder.Size() > i.batch.Capacity() && row > first {
			return row, 0, nil // the host takes what there is and calls again
		}
		r := i.batch.Row(row)
		out.source, out.row, out.opened, out.reason = r, row, false, out.reason[:0]
		v, err := i.connector.Row(r, out)
		if err != nil || out.opened || v > sdk.VerdictEdited {
			if v, err = i.settle(v, err); err == sdk.ErrFull {
				return row, uint32(2 * i.batch.Capacity()), nil
			} else if err != nil {
				return row, 0, err
			}
		}
		i.verdicts = append(i.verdicts, byte(v))
	}
	return rows, 0, nil
}

// settle files an answer that is more than a plain verdict.
func (i *Instance) settle(v sdk.Verdict, err error) (sdk.Verdict, error) {
	switch {
	case err == nil:
	case errors.Is(err, sdk.ErrFull):
		i.out.takeBack()
		return v, sdk.ErrFull
	default:
		if stop, ok := errors.AsType[*sdk.Error](err); ok {
			return v, stop
		}
		i.out.Refuse(err.Error())
		v = sdk.VerdictDeadLetter
	}
	switch v {
	case sdk.VerdictReplaced:
	case sdk.VerdictDeadLetter:
		i.out.takeBack()
		i.out.fileReason()
		if onRefused != nil {
			onRefused(i.out.row)
		}
	case sdk.VerdictPass, sdk.VerdictDrop, sdk.VerdictEdited:
		i.out.takeBack()
	default:
		return v, &sdk.Error{Code: sdk.CodeInternal, Message: "the connector answered with verdict " + strconv.Itoa(int(v))}
	}
	return v, nil
}

// Verdicts returns the verdicts of the last Transform, one byte for each row
// that it did. A view.
func (i *Instance) Verdicts() []byte { return i.verdicts }

// Output returns the batch of replacing rows of the last Transform, empty
// without any. A view.
func (i *Instance) Output() []byte { return i.out.bytes }

// Reasons returns the reasons of the last Transform: see sdk.Result. A view.
func (i *Instance) Reasons() []byte { return i.out.reasons }

// coded gives an error the code of the call that it came from, unless it has
// one of its own.
func coded(code sdk.ErrorCode, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*sdk.Error](err); ok {
		return err
	}
	return &sdk.Error{Code: code, Message: err.Error()}
}
