package manager

import (
	"context"
	"net/url"
	"sort"

	"github.com/tropocloud/tropo/compute"
)

// maxBackups bounds how many backups of a kind are looked at.
const maxBackups = "1000"

// BackupServer makes an image of a server's root disk as one of a row of
// backups of a kind ("daily"), of which the newest rotation are kept; with 0
// none is.
func (m *Manager) BackupServer(ctx context.Context, s *compute.Server, name, kind string, rotation int, props map[string]string) (imageID string, err error) {
	all := map[string]string{}
	for k, v := range props {
		all[k] = v
	}
	all["image_type"], all["backup_type"] = "backup", kind
	return m.startSnapshot(ctx, s, "createBackup", name, all, snapshotState{ServerID: s.ID, ImageID: newID(), Backup: kind, Rotation: rotation})
}

// backupDoc is what is read of a backup.
type backupDoc struct {
	ID      string `json:"id"`
	Type    string `json:"image_type"`
	Kind    string `json:"backup_type"`
	Server  string `json:"instance_uuid"`
	Created string `json:"created_at"`
}

// backupRotate removes the backups that are too many, the oldest first. The one
// that was just made counts as the newest.
func (m *Manager) backupRotate(ctx context.Context, st *snapshotState) error {
	if st.Backup == "" {
		return nil
	}
	p, err := m.peer(ctx, "image", asService)
	if err != nil {
		return err
	}
	q := url.Values{"image_type": {"backup"}, "backup_type": {st.Backup}, "instance_uuid": {st.ServerID}, "limit": {maxBackups}, "visibility": {"all"}}
	var out struct {
		Images []backupDoc `json:"images"`
	}
	if err := p.get(ctx, "images?"+q.Encode(), &out); err != nil {
		return err
	}
	var list []backupDoc
	for _, b := range out.Images {
		if b.Type == "backup" && b.Kind == st.Backup && b.Server == st.ServerID {
			list = append(list, b)
		}
	}
	sort.SliceStable(list, func(i, j int) bool {
		if (list[i].ID == st.ImageID) != (list[j].ID == st.ImageID) {
			return list[i].ID == st.ImageID
		}
		return list[i].Created > list[j].Created
	})
	for i := range list {
		if i < st.Rotation {
			continue
		}
		if err := p.remove(ctx, "images/"+segment(list[i].ID)); err != nil {
			return stubborn(err)
		}
	}
	return nil
}
