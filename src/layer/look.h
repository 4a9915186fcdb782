// Looking at one file of a layer that its container may be changing: no link is followed, no FIFO is opened.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

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

// Goes through a layer: "." first, a directory before what is in it, else by name. `visit` gets what Look has
// found, and where it was; it returns whether to go into it, if it is a directory. Directories more than
// kMaxDirectories deep are an error that says `purpose`: "saved". Errors of `visit` end it.
using Visit = std::function<StatusOr<bool>(int directory, const std::string& name, Entry entry)>;
Status WalkLayer(int directory, std::string_view purpose, const Visit& visit);

}  // namespace stasis::layer
