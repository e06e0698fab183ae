package sdk

// The connector ABI, cdcd-abi-1 (docs/design/connector-abi.md). A connector is
// a core WebAssembly module that exports the functions below. Buffers belong to
// the guest; the host writes into them and copies results out before the next
// call. A call that returns i64 gives a packed (address<<32 | length), or a
// negative ErrorCode, whose text ExportError returns.
const (
	// ExportABI is the version gate: its presence says abi 1. () -> ()
	ExportABI = "cdcd_abi_1"
	// ExportBuf returns the address of a guest buffer of at least size bytes,
	// good until the next call of ExportBuf with the same kind. (kind i32, size i32) -> i32
	ExportBuf = "cdcd_buf"
	// ExportInit configures the instance from the JSON in BufConfig. (len i32) -> i64
	ExportInit = "cdcd_init"
	// ExportSchema announces an input schema, encoded by AppendSchema in
	// BufSchema, before the first row that uses it. The result is the schema of
	// the rows that the connector gives for it (same id, encoded the same way),
	// or length 0 for the same schema. (len i32) -> i64
	ExportSchema = "cdcd_schema"
	// ExportTransform processes the batch in BufBatch, beginning at
	// Batch.FirstRow; the result is a Result block. (len i32) -> i64
	ExportTransform = "cdcd_transform"
	// ExportSink renders requests for the host to send, in place of
	// ExportTransform in a sink. (len i32) -> i64
	ExportSink = "cdcd_sink"
	// ExportError returns the text of the last error, at most ErrorBytesMax. () -> i64
	ExportError = "cdcd_error"
	// ExportTick, ExportDrain and ExportClose are optional. () -> i64
	ExportTick  = "cdcd_tick"
	ExportDrain = "cdcd_drain"
	ExportClose = "cdcd_close"

	// ManifestSection is the custom section that holds the manifest, as JSON.
	ManifestSection = "cdcd:manifest"

	// ErrorBytesMax bounds an error text.
	ErrorBytesMax = 4 << 10
)

// Kinds of guest buffers for ExportBuf.
const (
	BufConfig uint32 = iota
	BufSchema
	BufBatch
)

// Host modules: capabilities, linked only when the manifest asks and the
// configuration grants. A module that imports anything else does not load.
const (
	ModuleLog     = "cdcd:log/1"
	ModuleMetrics = "cdcd:metrics/1"
	ModuleKV      = "cdcd:kv/1"
	ModuleHTTP    = "cdcd:http/1"
	ModuleClock   = "cdcd:clock/1"
	ModuleRandom  = "cdcd:random/1"
	ModuleSecret  = "cdcd:secret/1"
	ModuleValue   = "cdcd:value/1" // reads large values: read(index, offset, ptr, len i32) -> i32
)

// What functions of capabilities return in place of a result of 0 or more.
const (
	CapNotFound = -1 // there is no such key, secret or metric
	CapInvalid  = -2 // an address, a length, a name or a row that can't be
	CapTooLarge = -3 // a value over its limit, or too many of a kind
	CapNoBatch  = -4 // only while a batch is transformed
)

// Limits of kv.
const (
	KVKeyBytesMax   = 1 << 10
	KVValueBytesMax = 64 << 10
	KVScanMax       = 1000 // entries of one scan
)

// Kinds of metrics.
const (
	MetricCounter uint32 = iota
	MetricGauge
	MetricHistogram
)

// Limits of metrics.
const (
	MetricsMax       = 32 // of a step
	MetricNameMax    = 64 // bytes
	MetricBucketsMax = 16
)

// ResultSize is the size of a Result block. All fields are u32; addresses are
// in guest memory, not in the batch.
//
//	 0 rows done (counted from the batch's first row)
//	 4 verdicts address    8 verdicts length: one byte for each row from FirstRow to rows done
//	12 output address     16 output length: a batch of replacing rows, or 0
//	20 reasons address    24 reasons length: (u32 row, u32 length, text)... of dead letters
//	28 capacity wanted for the rest, in bytes; 0 leaves it to the host
const ResultSize = 32

// Result is what a transform returned, with addresses in guest memory.
type Result struct {
	RowsDone                      uint32
	VerdictsAddr, VerdictsLen     uint32
	OutputAddr, OutputLen         uint32
	ReasonsAddr, ReasonsLen, Want uint32
}

// Put writes the block to p, which has at least ResultSize bytes.
func (r Result) Put(p []byte) {
	for i, v := range r.fields() {
		le.PutUint32(p[4*i:], v)
	}
}

// ParseResult reads a block; p has at least ResultSize bytes.
func ParseResult(p []byte) Result {
	u := func(i int) uint32 { return le.Uint32(p[4*i:]) }
	return Result{u(0), u(1), u(2), u(3), u(4), u(5), u(6), u(7)}
}

func (r Result) fields() [8]uint32 {
	return [8]uint32{r.RowsDone, r.VerdictsAddr, r.VerdictsLen, r.OutputAddr, r.OutputLen,
		r.ReasonsAddr, r.ReasonsLen, r.Want}
}

// Pack joins an address and a length into the i64 that ABI calls return.
func Pack(addr, length uint32) int64 { return int64(uint64(addr)<<32 | uint64(length)) }

// Unpack splits what Pack joined. Guest addresses stay below 2 GiB, so that a
// packed result is never negative.
func Unpack(v int64) (addr, length uint32) { return uint32(uint64(v) >> 32), uint32(uint64(v)) }

// Manifest says what a connector is, in the custom section ManifestSection:
// readable without compiling or running the module.
type Manifest struct {
	Name         string   `json:"name"`
	Version      string   `json:"version"`
	ABI          int      `json:"abi"`
	Kind         string   `json:"kind"` // "transform" or "sink"
	Summary      string   `json:"summary,omitempty"`
	ConfigSchema any      `json:"config_schema,omitempty"` // JSON Schema of `with`
	Capabilities []string `json:"capabilities,omitempty"`  // such as "log"; see the Module constants
	Columns      []string `json:"columns,omitempty"`       // columns it reads; empty for any
	LargeValues  bool     `json:"large_values,omitempty"`  // asks to read values over 64 KiB
}
