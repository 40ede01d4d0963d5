package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/qmp"
)

// snapshotJob names the copy of a running guest's disk, as a job and as the
// node that it writes to. A guest has one at a time.
const snapshotJob = "snapshot"

// Snapshot implements driver.Driver.
func (d *QEMU) Snapshot(ctx context.Context, id, dst string) (string, error) {
	g, def, ctx, done, err := d.known(ctx, id)
	if err != nil {
		return "", err
	}
	defer done()
	dst, err = filepath.Abs(dst)
	if err != nil {
		return "", internal(err, "The snapshot could not be stored.")
	}
	if _, err := os.Lstat(dst); err == nil {
		return "", fault.New(fault.Internal, "The snapshot could not be stored.")
	}
	err = create(dst, func(part string) error {
		if d.process(g) == nil || g.has(memoryFile) {
			return d.copyStopped(ctx, g, part)
		}
		return d.copyRunning(ctx, g, def, part)
	})
	if err != nil {
		return "", internal(err, "The snapshot could not be made.")
	}
	return "qcow2", nil
}

// copyStopped reads the root disk by the headers that qemu-img wrote with fixed
// formats; the guest only ever saw what is inside them.
func (d *QEMU) copyStopped(ctx context.Context, g *guest, part string) error {
	_, err := qemuImg(ctx, true, "convert", "-f", "qcow2", "-O", "qcow2", g.path(rootFile), part)
	return err
}

func (d *QEMU) copyRunning(ctx context.Context, g *guest, _ *definition, part string) error {
	m, err := d.connect(ctx, g)
	if err != nil {
		return err
	}
	if err := clearSnapshot(ctx, m); err != nil { // of an agent that was killed
		return err
	}
	size, err := nodeSize(ctx, m, rootNode)
	if err != nil {
		return err
	}
	if _, err := qemuImg(ctx, false, "create", "-q", "-f", "qcow2", part, strconv.FormatInt(size, 10)); err != nil {
		return err
	}
	target := properties{
		"driver": "qcow2", "node-name": snapshotJob, "discard": "unmap",
		"file": fileNode(part, true),
	}
	if err := command(ctx, m, "blockdev-add", target, nil); err != nil {
		return err
	}
	err = backup(ctx, m)
	// The copy is only whole once QEMU has closed it.
	return errors.Join(err, clearSnapshot(context.WithoutCancel(ctx), m))
}

func backup(ctx context.Context, m *qmp.Client) error {
	ctx, cancel := context.WithTimeout(ctx, workTime)
	defer cancel()
	sub := m.Subscribe("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED")
	defer sub.Close()
	err := command(ctx, m, "blockdev-backup", properties{
		"job-id": snapshotJob, "device": rootNode, "target": snapshotJob, "sync": "full",
	}, nil)
	if err != nil {
		return err
	}
	var data struct {
		Device string `json:"device"`
		Error  string `json:"error"`
	}
	e, err := sub.Next(ctx, func(e qmp.Event) bool {
		return e.Decode(&data) == nil && data.Device == snapshotJob
	})
	if err != nil {
		return err
	}
	if e.Name != "BLOCK_JOB_COMPLETED" || data.Error != "" {
		return fmt.Errorf("backup ended by %s: %s", e.Name, data.Error)
	}
	return nil
}

// clearSnapshot cancels a running copy and closes its file.
func clearSnapshot(ctx context.Context, m *qmp.Client) error {
	ctx, cancel := context.WithTimeout(ctx, qmpTimeout)
	defer cancel()
	sub := m.Subscribe("JOB_STATUS_CHANGE")
	defer sub.Close()
	err := m.Execute(ctx, "block-job-cancel", properties{"device": snapshotJob, "force": true}, nil)
	var refused *qmp.Error
	switch {
	case err == nil:
		_, err = sub.Next(ctx, func(e qmp.Event) bool {
			var data struct {
				ID     string `json:"id"`
				Status string `json:"status"`
			}
			return e.Decode(&data) == nil && data.ID == snapshotJob && data.Status == "null"
		})
		if err != nil {
			return err
		}
	case !errors.As(err, &refused):
		return err
	}
	return closeNode(ctx, m, snapshotJob)
}

// closeNode removes a block node; one that is not there is fine.
func closeNode(ctx context.Context, m *qmp.Client, name string) error {
	for {
		err := m.Execute(ctx, "blockdev-del", properties{"node-name": name}, nil)
		var refused *qmp.Error
		if !errors.As(err, &refused) {
			return err
		}
		there, looked := hasNode(ctx, m, name)
		if looked != nil || !there {
			return looked
		}
		// A job lets go of its nodes a moment after it has ended.
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

type blockNode struct {
	Name  string `json:"node-name"`
	Image struct {
		VirtualSize int64 `json:"virtual-size"`
	} `json:"image"`
}

func blockNodes(ctx context.Context, m *qmp.Client) ([]blockNode, error) {
	var nodes []blockNode
	err := command(ctx, m, "query-named-block-nodes", properties{"flat": true}, &nodes)
	return nodes, err
}

func hasNode(ctx context.Context, m *qmp.Client, name string) (bool, error) {
	nodes, err := blockNodes(ctx, m)
	for _, n := range nodes {
		if n.Name == name {
			return true, err
		}
	}
	return false, err
}

func nodeSize(ctx context.Context, m *qmp.Client, name string) (int64, error) {
	nodes, err := blockNodes(ctx, m)
	if err != nil {
		return 0, err
	}
	for _, n := range nodes {
		if n.Name == name {
			return n.Image.VirtualSize, nil
		}
	}
	return 0, fmt.Errorf("no block node %s", name)
}
