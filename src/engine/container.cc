#include "engine/container.h"

#include <algorithm>

namespace stasis::engine {

Turn::~Turn() {
  if (container_) container_->GiveTurnBack();
}

ContainerRecord Container::Record() const {
  const std::lock_guard lock(mutex_);
  return record_;
}

Phase Container::phase() const {
  const std::lock_guard lock(mutex_);
  return record_.state.phase;
}

std::string Container::name() const {
  const std::lock_guard lock(mutex_);
  return record_.name;
}

Status Container::Change(const std::function<Status(ContainerRecord&)>& change,
                         const std::function<Status(const ContainerRecord&)>& commit) {
  const std::lock_guard changing(changing_);
  ContainerRecord next = Record();
  STASIS_RETURN_IF_ERROR(change(next));
  STASIS_RETURN_IF_ERROR(commit(next));
  const std::lock_guard lock(mutex_);
  record_ = std::move(next);
  changed_.notify_all();
  return {};
}

StatusOr<Turn> Container::TakeTurn(std::stop_token cancel) {
  std::unique_lock lock(mutex_);
  const bool free = changed_.wait(lock, cancel, [&] { return !busy_ || removed_; });
  if (!free) return Cancelled("waiting for container " + id_.str());
  if (removed_) return NotFound("No such container: " + id_.str());
  busy_ = true;
  turn_cancel_ = std::stop_source();
  return Turn(shared_from_this(), turn_cancel_.get_token());
}

StatusOr<Turn> Container::TryTakeTurn() {
  const std::lock_guard lock(mutex_);
  if (removed_) return NotFound("No such container: " + id_.str());
  if (busy_) return Unavailable("container " + id_.str() + " is busy");
  busy_ = true;
  turn_cancel_ = std::stop_source();
  return Turn(shared_from_this(), turn_cancel_.get_token());
}

void Container::GiveTurnBack() {
  const std::lock_guard lock(mutex_);
  busy_ = false;
  changed_.notify_all();
}

void Container::CancelWork() {
  std::stop_source turn = [&] {
    const std::lock_guard lock(mutex_);
    return turn_cancel_;
  }();
  turn.request_stop();  // outside the lock: callbacks run in here
  CancelCheckpoint();
}

void Container::BeginStarting() {
  const std::lock_guard lock(mutex_);
  starting_ = true;
  ++starts_;
  starting_since_ = absl::Now();
  early_exit_.reset();
  run_ended_ = std::stop_source();
}

std::optional<Exit> Container::EndStarting() {
  const std::lock_guard lock(mutex_);
  starting_ = false;
  changed_.notify_all();
  return std::exchange(early_exit_, std::nullopt);
}

bool Container::MayHandleExit(const Exit& exit) {
  const std::lock_guard lock(mutex_);
  if (!starting_) return true;
  if (exit.at >= starting_since_) early_exit_ = exit;
  return false;
}

bool Container::starting() const {
  const std::lock_guard lock(mutex_);
  return starting_;
}

Status Container::WaitForStart(std::stop_token cancel) const {
  return WaitUntil([this](const ContainerRecord&, uint64_t) { return !starting_; }, kNoDeadline,
                   std::move(cancel));
}

uint64_t Container::starts() const {
  const std::lock_guard lock(mutex_);
  return starts_;
}

absl::Time Container::starting_since() const {
  const std::lock_guard lock(mutex_);
  return starting_since_;
}

void Container::EndRun() {
  std::stop_source ended = [&] {
    const std::lock_guard lock(mutex_);
    attach_socket_.clear();
    return run_ended_;
  }();
  ended.request_stop();
}

void Container::NoteExit() {
  EndRun();
  const std::lock_guard lock(mutex_);
  ++exits_;
  changed_.notify_all();
}

uint64_t Container::exits() const {
  const std::lock_guard lock(mutex_);
  return exits_;
}

std::stop_token Container::run_ended() const {
  const std::lock_guard lock(mutex_);
  if (IsAlive(record_.state.phase) || starting_) return run_ended_.get_token();
  std::stop_source ended;
  ended.request_stop();
  return ended.get_token();
}

std::string Container::attach_socket() const {
  const std::lock_guard lock(mutex_);
  return attach_socket_;
}

void Container::SetAttachSocket(std::string path) {
  const std::lock_guard lock(mutex_);
  attach_socket_ = std::move(path);
}

void Container::AddAttachment(std::shared_ptr<AttachChannel> channel) {
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(attachments_, [](const auto& other) { return other->abandoned(); });
    attachments_.push_back(std::move(channel));
    if (attach_socket_.empty() || !IsAlive(record_.state.phase)) return;
  }
  ConnectAttachments(true);
}

void Container::ConnectAttachments(bool created) {
  std::vector<std::shared_ptr<AttachChannel>> waiting;
  std::string socket;
  {
    const std::lock_guard lock(mutex_);
    waiting.swap(attachments_);
    socket = attach_socket_;
  }
  for (const std::shared_ptr<AttachChannel>& channel : waiting) {
    if (!channel->abandoned()) channel->Connect(socket, created);
  }
}

Status Container::WaitUntil(
    const std::function<bool(const ContainerRecord& record, uint64_t exits)>& condition, Deadline deadline,
    std::stop_token cancel) const {
  std::unique_lock lock(mutex_);
  const auto holds = [&] { return removed_ || condition(record_, exits_); };
  const bool held = deadline == kNoDeadline ? changed_.wait(lock, cancel, holds)
                                            : changed_.wait_until(lock, cancel, deadline, holds);
  if (held) return {};
  if (cancel.stop_requested()) return Cancelled("waiting for container " + id_.str());
  return DeadlineExceeded("waiting for container " + id_.str());
}

bool Container::removed() const {
  const std::lock_guard lock(mutex_);
  return removed_;
}

void Container::MarkRemoved() {
  std::vector<std::shared_ptr<AttachChannel>> waiting;
  {
    const std::lock_guard lock(mutex_);
    removed_ = true;
    waiting.swap(attachments_);
    changed_.notify_all();
  }
  for (const std::shared_ptr<AttachChannel>& channel : waiting) {
    channel->Fail(NotFound("No such container: " + id_.str()));
  }
}

StatusOr<std::stop_token> Container::BeginCheckpoint() {
  const std::lock_guard lock(mutex_);
  if (checkpoint_) return FailedPrecondition("a checkpoint of it is being made already");
  checkpoint_.emplace();
  return checkpoint_->get_token();
}

void Container::EndCheckpoint() {
  const std::lock_guard lock(mutex_);
  checkpoint_.reset();
  changed_.notify_all();
}

bool Container::checkpointing() const {
  const std::lock_guard lock(mutex_);
  return checkpoint_.has_value();
}

void Container::CancelCheckpoint() {
  std::optional<std::stop_source> checkpoint;
  {
    const std::lock_guard lock(mutex_);
    checkpoint = checkpoint_;
  }
  if (checkpoint) checkpoint->request_stop();
}

Status Container::WaitForCheckpoint(Deadline deadline, std::stop_token cancel) const {
  return WaitUntil([this](const ContainerRecord&, uint64_t) { return !checkpoint_; }, deadline,
                   std::move(cancel));
}

void Container::HoldRemoval(bool hold) {
  const std::lock_guard lock(mutex_);
  removal_held_ = hold;
}

bool Container::removal_held() const {
  const std::lock_guard lock(mutex_);
  return removal_held_;
}

absl::Duration Container::restart_delay() const {
  const std::lock_guard lock(mutex_);
  return restart_delay_;
}

void Container::SetRestartDelay(absl::Duration delay) {
  const std::lock_guard lock(mutex_);
  restart_delay_ = delay;
}

}  // namespace stasis::engine
