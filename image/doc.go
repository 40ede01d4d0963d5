// Package image is the image service: Glance's API v2, images as rows, their
// data as streams in stores behind a driver.
//
// This package has the nouns and their pure rules. No image becomes active
// before lib/diskimage has seen all of it and found it safe.
package image
