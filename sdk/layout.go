package sdk

// The layout of a batch in cdcd-abi-1 (docs/design/batch-layout.md).
//
// A batch is one flat region: little-endian, every section 8-aligned, every
// reference an offset from the region's first byte, so that it can be copied
// to any address and read there in any language.
//
//	header | rows and heap values, in the order they were written |
//	directory of rows (u32 each) | directory of transactions | room to grow
//
// A new heap value is appended at Size, up to Capacity.
const (
	Magic uint32 = 0x31424443 // "CDB1"
	ABI   uint16 = 1

	HeaderSize = 96 // header fields end here in abi 1; the header carries its own size

	offMagic      = 0  // u32
	offABI        = 4  // u16
	offHeaderSize = 6  // u16
	offFlags      = 8  // u32, none defined yet; unknown flags are ignored
	offSize       = 12 // u32 bytes in use
	offCapacity   = 16 // u32 bytes that may be used
	offRows       = 20 // u32 number of rows
	offRowDir     = 24 // u32 offset of the directory of rows
	offTxs        = 28 // u32 number of transactions
	offTxDir      = 32 // u32 offset of the directory of transactions
	offTxStride   = 36 // u32 bytes of one entry
	offFirstRow   = 40 // u32 rows before it are done already
	offLarge      = 44 // u32 number of large values kept beside the batch
	offBatchSeq   = 48 // u64 number of the batch within its pipeline's run
	offTime       = 56 // i64 microseconds: the commit time of the first row, a guest's wall clock

	// TxStride is the size of one entry of the directory of transactions.
	TxStride = 80

	txID         = 0  // text slot: GTID, or file:position of the start
	txFile       = 8  // text slot: log file
	txPosStart   = 16 // u64 log position of the first event
	txPosEnd     = 24 // u64 log position behind the last event, 0 until it ended
	txTime       = 32 // i64 commit time, microseconds since the Unix epoch
	txFirstRow   = 40 // u32 index of its first row in this batch
	txRows       = 44 // u32 its rows in this batch
	txFlags      = 48 // u32 TxBegins, TxEnds
	txServer     = 52 // u32 server id
	txRowsBefore = 56 // u64 its rows in earlier batches
	txRowsTotal  = 64 // u64 all its followed rows, 0 until it ended

	// RowHeaderSize is the size of a row before its destination and images.
	RowHeaderSize = 32

	rowOp      = 0  // u8
	rowFlags   = 1  // u8
	rowSchema  = 4  // u32 schema id
	rowTx      = 8  // u32 index into the directory of transactions
	rowSource  = 12 // u32 in an output batch: the input row that this one replaces
	rowOrdinal = 16 // u64 0-based number among its transaction's followed rows
	rowColumns = 24 // u32
	rowSize    = 28 // u32 bytes of the fixed part, heap values not counted

	// destSize is the size of the destination: three text slots.
	destSize = 24

	// LargeBit in a slot's length says that the value lives beside the batch;
	// the slot's offset is then its index among the large values.
	LargeBit = 1 << 31

	// LargeBytesMin is the size above which a value lives beside the batch.
	LargeBytesMin = 64<<10 + 1
)

// Flags of a transaction in a batch.
const (
	TxBegins uint32 = 1 << iota // the batch holds the transaction's first followed row
	TxEnds                      // the batch holds its last
)

// RowFlags says which parts a row has.
type RowFlags uint8

// The flags of a row.
const (
	RowBefore RowFlags = 1 << iota // has a before image
	RowAfter                       // has an after image
	RowDest                        // has a destination of its own (output rows only)
)

// words returns how many 64-bit words hold one bit for each column.
func words(columns int) int { return (columns + 63) / 64 }

// imageSize returns the bytes of one image: null mask, absent mask, slots.
func imageSize(columns int) int { return 8 * (2*words(columns) + columns) }

// rowFixedSize returns the bytes of a row's fixed part:
// header | destination | changed mask | after image | before image.
func rowFixedSize(columns int, f RowFlags) int {
	n := RowHeaderSize + 8*words(columns)
	if f&RowDest != 0 {
		n += destSize
	}
	if f&RowAfter != 0 {
		n += imageSize(columns)
	}
	if f&RowBefore != 0 {
		n += imageSize(columns)
	}
	return n
}

func align8(n int) int { return (n + 7) &^ 7 }
