// Looking at one file of a layer that its container may be changing: no link is followed, no FIFO is opened.
#pragma once

#include <map>
#include <string>

#include "base/status.h"
#include "layer/entry.h"
#include "linux/unique_fd.h"

namespace stasis::layer {

inline constexpr int kMaxDirectories = 512;  // that are open at once, one in the other

// It has vanished, or become something else, while it was looked at.
bool HasGone(int error);

// All of `name` but its content, which has only its size, and its attributes. False: it is not there any
// more.
StatusOr<bool> Look(int directory, const std::string& name, Entry* entry);

// The extended attributes that belong to it. None of what has gone.
StatusOr<std::map<std::string, std::string>> ReadAttributes(int directory, const std::string& name);

// Opens a regular file for reading, and says its size. An error of which HasGone is true: it is none.
StatusOr<UniqueFd> OpenRegular(int directory, const std::string& name, uint64_t* size);

// The path of `name` in the directory `path` of the layer.
std::string PathBelow(const std::string& path, const std::string& name);

}  // namespace stasis::layer
