package qemu

import "path/filepath"

// disk is one drive of the machine: what it stores and how the guest sees it.
type disk struct {
	id     string
	node   properties // -blockdev; every format in it is explicit
	device properties
}

func (k disk) arguments() []string {
	return []string{"-blockdev", text(k.node), "-device", text(k.device)}
}

// Names of block nodes; the devices that show them are called "dev-" and that.
const (
	rootNode      = "root"
	ephemeralNode = "ephemeral0"
	swapNode      = "swap0"
	configNode    = "config"
	cdromNode     = "cdrom"
	rescueNode    = "rescue"
)

// disks returns the drives in the order in which the guest names them.
func disks(def *definition, dir string) []disk {
	s := def.Spec
	var all []disk
	rootBoots, cd := 1, def.Base
	if def.BaseFormat != isoFormat {
		cd = ""
	}
	if r := def.Rescue; r != nil {
		rootBoots = 0
		if r.BaseFormat == isoFormat {
			cd = r.Base
		} else {
			cd = ""
			all = append(all, virtio(rescueNode, chain(rescueNode, filepath.Join(dir, rescueFile), r.Base, r.BaseFormat), 1, false))
		}
	}
	all = append(all, virtio(rootNode, chain(rootNode, filepath.Join(dir, rootFile), def.Base, def.BaseFormat), rootBoots, false))
	if s.Flavor.EphemeralGiB > 0 {
		all = append(all, virtio(ephemeralNode, rawNode(ephemeralNode, filepath.Join(dir, ephemeralFile)), 0, false))
	}
	if s.Flavor.SwapMiB > 0 {
		all = append(all, virtio(swapNode, rawNode(swapNode, filepath.Join(dir, swapFile)), 0, false))
	}
	if def.ConfigDrive {
		node := readOnly(rawNode(configNode, filepath.Join(dir, configFile)))
		all = append(all, virtio(configNode, node, 0, true))
	}
	if cd != "" {
		all = append(all, disk{
			id: cdromNode, node: readOnly(rawNode(cdromNode, cd)),
			device: properties{"driver": "ide-cd", "id": "dev-" + cdromNode, "bus": "ide.0", "drive": cdromNode, "bootindex": 2},
		})
	}
	return all
}

// chain names the format of each file of a disk's chain and where it ends:
// nothing is taken from headers, neither by guessing a format nor by following
// a backing file that the image names itself.
func chain(name, path, basePath, baseFormat string) properties {
	node := properties{
		"driver": "qcow2", "node-name": name, "discard": "unmap",
		"file":    fileNode(path, true),
		"backing": nil,
	}
	if basePath == "" || baseFormat == isoFormat {
		return node
	}
	baseName := "base"
	if name != rootNode {
		baseName = name + "-base"
	}
	base := properties{
		"driver": baseFormat, "node-name": baseName, "read-only": true,
		"file": fileNode(basePath, false),
	}
	if baseFormat == "qcow2" {
		base["backing"] = nil
	}
	node["backing"] = base
	return node
}

func rawNode(name, path string) properties {
	return properties{"driver": "raw", "node-name": name, "discard": "unmap", "file": fileNode(path, true)}
}

func fileNode(path string, writable bool) properties {
	p := properties{"driver": "file", "filename": path}
	if writable {
		p["discard"] = "unmap"
	} else {
		p["read-only"] = true
	}
	return p
}

func readOnly(p properties) properties {
	p["read-only"] = true
	delete(p, "discard")
	p["file"] = fileNode(p["file"].(properties)["filename"].(string), false)
	return p
}

// virtio shows the node as a virtio disk; bootIndex 0 means never to boot.
func virtio(node string, store properties, bootIndex int, locked bool) disk {
	dev := properties{"driver": "virtio-blk-pci", "id": "dev-" + node, "drive": node, "serial": node}
	if bootIndex > 0 {
		dev["bootindex"] = bootIndex
	}
	if !locked {
		dev["write-cache"] = "on"
	}
	return disk{id: node, node: store, device: dev}
}
