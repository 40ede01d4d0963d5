package qemu

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

const (
	// maxConsoleLog is where a console log is cut: a guest that prints without
	// end must not fill the host's disk.
	maxConsoleLog = 4 << 20
	// trimInterval bounds what it prints between two looks.
	trimInterval = 10 * time.Second
)

// ConsoleOutput implements driver.Driver.
func (d *QEMU) ConsoleOutput(ctx context.Context, id string, lines int) ([]byte, error) {
	if !driver.ValidID(id) {
		return nil, fault.Missing("Server", id)
	}
	g := d.guest(id)
	if _, err := g.load(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out, err := tail(g.path(consoleFile), driver.MaxConsoleBytes)
	if err == nil && len(out) < driver.MaxConsoleBytes {
		var old []byte
		old, err = tail(g.path(consoleOld), driver.MaxConsoleBytes-len(out))
		out = append(old, out...)
	}
	if err != nil {
		return nil, internal(err, "The server's console log could not be read.")
	}
	return lastLines(out, lines), nil
}

// tail returns up to limit bytes from the end of the file; a missing one is
// empty.
func tail(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	from := max(0, info.Size()-int64(limit))
	return io.ReadAll(io.NewSectionReader(f, from, int64(limit)))
}

// lastLines cuts out to its last n lines; n <= 0 keeps all.
func lastLines(out []byte, n int) []byte {
	if n <= 0 {
		return out
	}
	end := len(bytes.TrimSuffix(out, []byte("\n")))
	for range n {
		end = bytes.LastIndexByte(out[:end], '\n')
		if end < 0 {
			return out
		}
	}
	return out[end+1:]
}

// trimConsoles keeps the console logs small until the driver closes.
func (d *QEMU) trimConsoles() {
	t := time.NewTicker(trimInterval)
	defer t.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-t.C:
		}
		ids, err := d.ids()
		for _, id := range ids {
			err = errors.Join(err, d.guest(id).trimConsole(maxConsoleLog))
		}
		if err != nil {
			d.log.Warn("console logs could not be trimmed", slog.Any("error", err))
		}
	}
}

// trimConsole moves the end of a log that is longer than limit aside and begins
// anew. QEMU has the file open for appending, so it goes on at the new end;
// what it writes between copy and cut is lost.
func (g *guest) trimConsole(limit int) error {
	info, err := os.Stat(g.path(consoleFile))
	if err != nil || info.Size() <= int64(limit) {
		return nil
	}
	end, err := tail(g.path(consoleFile), driver.MaxConsoleBytes)
	if err != nil {
		return err
	}
	if err := driver.WriteFile(g.path(consoleOld), end, 0o600); err != nil {
		return err
	}
	return os.Truncate(g.path(consoleFile), 0)
}

// Console implements driver.Driver.
func (d *QEMU) Console(ctx context.Context, id string) (driver.Console, error) {
	if !driver.ValidID(id) {
		return driver.Console{}, fault.Missing("Server", id)
	}
	g := d.guest(id)
	if _, err := g.load(); err != nil {
		return driver.Console{}, err
	}
	if d.process(g) == nil {
		return driver.Console{}, fault.Conflictf("The server is not running.")
	}
	return driver.Console{VNC: g.path(vncSocket), Serial: g.path(serialSocket)}, ctx.Err()
}
