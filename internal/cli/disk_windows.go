package cli

import "golang.org/x/sys/windows"

// statDisk returns how much the user may still write to the file system of a folder.
func statDisk(folder string) (disk, error) {
	path, err := windows.UTF16PtrFromString(folder)
	if err != nil {
		return disk{}, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(path, &free, nil, nil); err != nil {
		return disk{}, err
	}
	return disk{free: int64(free)}, nil
}
