// Package ipam computes addresses: default pools, free addresses in pools,
// addresses from MACs, and prefixes cut from subnet pools. It keeps nothing;
// that an address is given out once is the database's word (the unique key of
// the allocations).
package ipam

import (
	"math/bits"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"

	"github.com/tropocloud/tropo/network"
)

// number is an address as a 128-bit number.
type number struct{ hi, lo uint64 }

func toNumber(a netip.Addr) number {
	b := a.As16()
	var n number
	for i := range 8 {
		n.hi = n.hi<<8 | uint64(b[i])
		n.lo = n.lo<<8 | uint64(b[i+8])
	}
	return n
}

func (n number) addr(v4 bool) netip.Addr {
	var b [16]byte
	for i := range 8 {
		b[i] = byte(n.hi >> (56 - 8*i))
		b[i+8] = byte(n.lo >> (56 - 8*i))
	}
	a := netip.AddrFrom16(b)
	if v4 {
		return a.Unmap()
	}
	return a
}

func (n number) plus(x uint64) number {
	lo, carry := bits.Add64(n.lo, x, 0)
	return number{n.hi + carry, lo}
}

// span is the count of addresses from a to b less one, cut to 62 bits.
func span(a, b number) uint64 {
	lo, borrow := bits.Sub64(b.lo, a.lo, 0)
	hi, _ := bits.Sub64(b.hi, a.hi, borrow)
	if hi != 0 || lo > 1<<62 {
		return 1 << 62
	}
	return lo
}

// Last is the last address of a prefix.
func Last(p netip.Prefix) netip.Addr {
	n := toNumber(p.Masked().Addr())
	host := p.Addr().BitLen() - p.Bits()
	switch {
	case host >= 128:
		n.hi, n.lo = ^uint64(0), ^uint64(0)
	case host > 64:
		n.lo = ^uint64(0)
		n.hi |= 1<<(host-64) - 1
	case host == 64:
		n.lo = ^uint64(0)
	default:
		n.lo |= 1<<host - 1
	}
	return n.addr(p.Addr().Is4())
}

// Range is a parsed pool, both ends included.
type Range struct{ Start, End netip.Addr }

// Contains reports whether a is in the range.
func (r Range) Contains(a netip.Addr) bool {
	return r.Start.Compare(a) <= 0 && a.Compare(r.End) <= 0
}

// Size is the number of addresses, at most 2⁶².
func (r Range) Size() uint64 { return span(toNumber(r.Start), toNumber(r.End)) + 1 }

// Ranges parses pools that are known to be valid.
func Ranges(pools []network.Pool) []Range {
	out := make([]Range, 0, len(pools))
	for _, p := range pools {
		s, err1 := netip.ParseAddr(p.Start)
		e, err2 := netip.ParseAddr(p.End)
		if err1 == nil && err2 == nil {
			out = append(out, Range{s, e})
		}
	}
	return out
}

// Hosts is the range of addresses of a subnet that ports may have: without the
// network's own and IPv4's broadcast address.
func Hosts(p netip.Prefix) Range {
	p = p.Masked()
	first, last := p.Addr(), Last(p)
	if p.Bits() >= p.Addr().BitLen()-1 { // point to point (RFC 3021, RFC 6164)
		return Range{first, last}
	}
	if first.Is4() {
		last = last.Prev()
	}
	return Range{first.Next(), last}
}

// DefaultPools is all of a subnet but the gateway.
func DefaultPools(p netip.Prefix, gateway netip.Addr) []network.Pool {
	h := Hosts(p)
	pool := func(a, b netip.Addr) network.Pool { return network.Pool{Start: a.String(), End: b.String()} }
	if !gateway.IsValid() || !h.Contains(gateway) {
		return []network.Pool{pool(h.Start, h.End)}
	}
	var out []network.Pool
	if h.Start.Less(gateway) {
		out = append(out, pool(h.Start, gateway.Prev()))
	}
	if gateway.Less(h.End) {
		out = append(out, pool(gateway.Next(), h.End))
	}
	return out
}

// Candidates returns up to n different random addresses of the ranges.
func Candidates(ranges []Range, n int) []netip.Addr {
	var total uint64
	for _, r := range ranges {
		total = min(total+r.Size(), 1<<62)
	}
	if total == 0 {
		return nil
	}
	seen := map[netip.Addr]bool{}
	var out []netip.Addr
	for range n {
		i := rand.Uint64N(total)
		for _, r := range ranges {
			if size := r.Size(); i >= size {
				i -= size
				continue
			}
			a := toNumber(r.Start).plus(i).addr(r.Start.Is4())
			if !seen[a] {
				seen[a] = true
				out = append(out, a)
			}
			break
		}
	}
	return out
}

// First returns the first address of the ranges that is not taken.
func First(ranges []Range, taken map[netip.Addr]bool) (netip.Addr, bool) {
	for _, r := range ranges {
		for a := r.Start; r.Contains(a); a = a.Next() {
			if !taken[a] {
				return a, true
			}
			if a == r.End {
				break
			}
		}
	}
	return netip.Addr{}, false
}

// EUI64 is the address that a host with this MAC makes by SLAAC (RFC 4291,
// appendix A).
func EUI64(p netip.Prefix, mac string) (netip.Addr, bool) {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 || !p.Addr().Is6() {
		return netip.Addr{}, false
	}
	b := p.Masked().Addr().As16()
	copy(b[8:], []byte{hw[0] ^ 2, hw[1], hw[2], 0xff, 0xfe, hw[3], hw[4], hw[5]})
	return netip.AddrFrom16(b), true
}

// Carve cuts the first free prefix of a length out of the pool's prefixes;
// used are the prefixes that are given out.
func Carve(pool, used []netip.Prefix, length int) (netip.Prefix, bool) {
	for _, from := range pool {
		if length < from.Bits() {
			continue
		}
		inside := slices.DeleteFunc(slices.Clone(used), func(u netip.Prefix) bool { return !u.Overlaps(from) })
		slices.SortFunc(inside, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		at := netip.PrefixFrom(from.Masked().Addr(), length)
		for {
			i := slices.IndexFunc(inside, func(u netip.Prefix) bool { return u.Overlaps(at) })
			if i < 0 {
				return at, true
			}
			end := Last(inside[i])
			if e := Last(at); end.Less(e) {
				end = e
			}
			next := end.Next()
			if !next.IsValid() || !from.Contains(next) {
				break
			}
			at = netip.PrefixFrom(next, length)
			if at != at.Masked() { // an odd smaller block came before
				at = netip.PrefixFrom(Last(at.Masked()).Next(), length)
			}
			if !from.Contains(at.Addr()) {
				break
			}
		}
	}
	return netip.Prefix{}, false
}

// Compact sorts prefixes, drops those inside others and joins neighbours.
func Compact(list []netip.Prefix) []netip.Prefix {
	list = slices.Clone(list)
	for {
		slices.SortFunc(list, func(a, b netip.Prefix) int {
			if c := a.Addr().Compare(b.Addr()); c != 0 {
				return c
			}
			return a.Bits() - b.Bits()
		})
		var out []netip.Prefix
		joined := false
		for _, p := range list {
			if n := len(out); n > 0 {
				prev := out[n-1]
				if prev.Overlaps(p) {
					joined = true
					continue
				}
				up := netip.PrefixFrom(prev.Addr(), prev.Bits()-1)
				if prev.Bits() == p.Bits() && prev.Bits() > 0 && up.Masked() == up && up.Contains(p.Addr()) {
					out[n-1], joined = up, true
					continue
				}
			}
			out = append(out, p)
		}
		list = out
		if !joined {
			return list
		}
	}
}
