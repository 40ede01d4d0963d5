package diskimage

import (
	"io"
	"slices"
)

const (
	// headSize is what is always kept of the start: up to ISO 9660's volume
	// descriptors and then some.
	headSize = 64 << 10
	// tailSize is what is always kept of the end: VMDK's footer is the longest.
	tailSize = 3 * 512
	// scanSize is how much of a raw image a reader of VMDK descriptors would
	// take for one.
	scanSize = 1 << 20
	// maxRegions and maxRegionBytes bound what one image can make us look at.
	maxRegions     = 1 << 16
	maxRegionBytes = 512 << 20
)

// Inspector inspects an image while it streams through Write. It is not safe
// for concurrent use.
type Inspector struct {
	pos     int64  // bytes written so far
	head    []byte // the first headSize bytes
	tail    []byte // the last tailSize bytes
	scan    []byte // the first scanSize bytes, of raw images only
	started bool
	err     error

	format  format
	pending []*region // sorted by offset
	asked   int64     // bytes of regions asked for
	regions int
	need    int64 // an image shorter than this is truncated
}

// format is the reader of one image format. start looks at the head and asks
// for further regions; finish gives the result once all was seen.
type format interface {
	start(in *Inspector, head []byte) error
	finish(in *Inspector, size int64) (Result, error)
}

// region is a part of the image that a format asked to see.
type region struct {
	off  int64
	size int
	buf  []byte // what has arrived
	// what names an indispensable region in a refusal; empty: optional.
	what   string
	format Format
	use    func([]byte) error
}

// NewInspector returns an inspector for one image.
func NewInspector() *Inspector { return &Inspector{} }

var _ io.Writer = (*Inspector)(nil)

// Write takes the next bytes of the image. As soon as the image is known to be
// unsafe it fails with an *Unsafe, so that an upload may stop early.
func (in *Inspector) Write(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	at := in.pos
	in.pos += int64(len(p))
	if n := headSize - len(in.head); n > 0 {
		in.head = append(in.head, p[:min(n, len(p))]...)
	}
	if n := scanSize - len(in.scan); n > 0 && at == int64(len(in.scan)) {
		in.scan = append(in.scan, p[:min(n, len(p))]...)
	}
	in.keepTail(p)
	if !in.started && len(in.head) == headSize {
		in.start()
	}
	in.feed(at, p)
	if in.err != nil {
		return 0, in.err
	}
	return len(p), nil
}

func (in *Inspector) keepTail(p []byte) {
	if len(p) >= tailSize {
		in.tail = append(in.tail[:0], p[len(p)-tailSize:]...)
		return
	}
	in.tail = append(in.tail, p...)
	if over := len(in.tail) - tailSize; over > 0 {
		in.tail = in.tail[:copy(in.tail, in.tail[over:])]
	}
}

// start recognizes the format from the head.
func (in *Inspector) start() {
	in.started = true
	in.format, in.err = recognize(in.head)
	if _, raw := in.format.(*rawDisk); !raw {
		in.scan = nil
	}
	if in.err == nil {
		in.err = in.format.start(in, in.head)
	}
}

// feed gives p, which lies at offset at, to the regions that overlap it. The
// head and p are contiguous when the head has just become complete, so a
// region may begin in one and end in the other.
func (in *Inspector) feed(at int64, p []byte) {
	end := at + int64(len(p))
	for in.err == nil && len(in.pending) > 0 && in.pending[0].off < end {
		g := in.pending[0]
		g.take(0, in.head)
		g.take(at, p)
		next := g.off + int64(len(g.buf))
		if len(g.buf) < g.size && next >= at && next >= end {
			// The rest comes with the next write. What follows g can wait
			// too, unless it overlaps g: then it gets its part here.
			in.feedRest(at, p)
			return
		}
		in.pending = in.pending[1:]
		in.settle(g)
	}
}

// feedRest gives p to the regions behind the first one.
func (in *Inspector) feedRest(at int64, p []byte) {
	for _, g := range in.pending[1:] {
		if g.off >= at+int64(len(p)) {
			return
		}
		g.take(0, in.head)
		g.take(at, p)
	}
}

// take appends what data, lying at offset at, holds of the next missing bytes.
func (g *region) take(at int64, data []byte) {
	from := g.off + int64(len(g.buf)) - at
	if from < 0 || from >= int64(len(data)) {
		return
	}
	n := min(int64(g.size-len(g.buf)), int64(len(data))-from)
	g.buf = append(g.buf, data[from:from+n]...)
}

// settle hands a region to its format; an incomplete one is an error if it is
// indispensable.
func (in *Inspector) settle(g *region) {
	buf := g.buf
	g.buf = nil
	switch {
	case len(buf) == g.size:
		if err := g.use(buf); err != nil {
			in.err = err
		}
	case g.what != "":
		in.err = unsafef(g.format, "%s is missing, or lies before what points to it", g.what)
	}
}

// ask asks to see size bytes at off. Optional regions (what is empty) are
// dropped when they cannot be had or there are too many.
func (in *Inspector) ask(g *region) error {
	in.regions++
	in.asked += int64(g.size)
	if in.regions > maxRegions || in.asked > maxRegionBytes {
		if g.what == "" {
			return nil
		}
		return unsafef(g.format, "too many tables")
	}
	i, _ := slices.BinarySearchFunc(in.pending, g.off, func(r *region, off int64) int {
		switch {
		case r.off < off:
			return -1
		case r.off > off:
			return 1
		}
		return 0
	})
	in.pending = slices.Insert(in.pending, i, g)
	return nil
}

// askEach asks for a region like g at each offset, once: images that name one
// table many times cost no more than others.
func (in *Inspector) askEach(offsets []int64, g region) error {
	slices.Sort(offsets)
	for _, off := range slices.Compact(offsets) {
		r := g
		r.off = off
		if err := in.ask(&r); err != nil {
			return err
		}
	}
	return nil
}

// atLeast records that the image must be longer than off.
func (in *Inspector) atLeast(off int64) { in.need = max(in.need, off) }

// Finish tells what the image was, after its last byte. The error is an
// *Unsafe.
func (in *Inspector) Finish() (Result, error) {
	if !in.started {
		in.start()
		if in.err == nil {
			in.feed(0, in.head)
		}
	}
	for in.err == nil && len(in.pending) > 0 {
		g := in.pending[0]
		in.pending = in.pending[1:]
		in.settle(g)
	}
	if in.err != nil {
		return Result{}, in.err
	}
	if in.pos == 0 {
		return Result{}, unsafef(Raw, "the image is empty")
	}
	f, err := recognizeTail(in.format, in.tail)
	if err != nil {
		return Result{}, err
	}
	r, err := f.finish(in, in.pos)
	if err != nil {
		return Result{}, err
	}
	if in.need > in.pos {
		return Result{}, unsafef(r.Format, "truncated: it has %d bytes and refers to byte %d", in.pos, in.need-1)
	}
	if r.VirtualSize < 0 || r.VirtualSize > MaxVirtualSize {
		return Result{}, unsafef(r.Format, "the virtual size is out of range")
	}
	r.Size = in.pos
	return r, nil
}
