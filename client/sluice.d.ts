/** Types of Sluice's client; what each thing does stands in docs/frontend.md. */

export type Action =
  | "upload-resume"
  | "upload-detailed-resume"
  | "create-service"
  | "customize-resume"
  | "interview-tips";
export type Locale = "en" | "zh";
export type QueueId = "paid_stream" | "free_stream" | "paid_batch" | "free_batch" | "paid_vision";
export type State = "queued" | "running" | "done" | "failed" | "cancelled";
export type Result = Record<string, unknown>;

/** Fields for JSON; a `File` or `Blob`, also as one of the fields, travels as a form. */
export type Input = Record<string, unknown> | FormData | Blob;

export interface ClientOptions {
  /** The base URL of the function `actions`; the user's token goes there and nowhere else. */
  actionsUrl: string | URL;
  /** Called before each request; `refused`: the token before this one was refused. */
  getToken?: (about: { refused: boolean }) => string | null | undefined | Promise<string | null | undefined>;
  /** In place of the global `fetch`. */
  fetch?: typeof globalThis.fetch;
  /** In place of the system's time; for tests. */
  clock?: Clock;
}

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** From 0 to 1. */
  random(): number;
  /** Resolves after `ms`, or at once when `signal` aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Told once a second while something is waited for; 0 when that is over. */
export interface Wait {
  /** `backpressure`, `retrying`, `reconnecting`, `network`, or the code of the refusal, such as `queue_full`. */
  reason: string;
  secondsLeft: number;
}

export interface CallOptions {
  /** Aborts the call, which then rejects with the signal's reason. */
  signal?: AbortSignal;
  onWait?: (wait: Wait) => void;
  /** How long to go on trying (60): what would take longer is refused at once, with its `retryAfter`. */
  maxWaitSeconds?: number;
}

export interface SubmitOptions extends CallOptions {
  /** Same key, same task, for 24 hours; one is made when none is given. */
  idempotencyKey?: string;
  /** The language of the result. */
  locale?: Locale;
}

export interface FollowOptions {
  /** Stops following, which then rejects with the signal's reason. The task goes on: see `cancel`. */
  signal?: AbortSignal;
  /** The whole text to show, and how it differs from the one before. */
  onText?: (text: string, change: TextChange) => void;
  onEvent?: (event: Event) => void;
  onWait?: (wait: Wait) => void;
  /** The bridge's HEARTBEAT_SECONDS (15): a connection is dead when two and a half of them were missed. */
  heartbeatSeconds?: number;
}

export interface TextChange {
  step: number;
  attempt: number;
  /** What was appended; all of the text when `replaced`. */
  appended: string;
  /** True when a new attempt, a new step or a resync has replaced the text before. */
  replaced: boolean;
}

interface Envelope {
  taskId: string;
  /** Of this step, from 1; 0 before the first. */
  attempt: number;
  /** Milliseconds since 1970. */
  at: number;
}

export interface QueuedEvent extends Envelope {
  type: "queued";
  queueId: QueueId;
  step: number;
  /** Tasks ahead of this one. */
  position: number;
  etaSeconds: number | null;
}

export interface StartEvent extends Envelope {
  type: "start";
  step: number;
  templateId: string;
  queueId: QueueId;
}

export interface TokenBatchEvent extends Envelope {
  type: "token_batch";
  step: number;
  text: string;
  /** Code points before `text` in this attempt. */
  offset: number;
  count: number;
  /** True for a sign of life of a model that reasons before it answers; `text` is empty then. */
  thinking?: true;
}

export interface WaitEvent extends Envelope {
  type: "backpressure" | "retrying";
  reason: string;
  /** Seconds. */
  retryAfter: number;
}

export interface StepResultEvent extends Envelope {
  type: "step_result";
  step: number;
  templateId: string;
  data: Result;
}

export interface ResyncEvent extends Envelope {
  type: "resync";
  step: number;
  text: string;
  throughId: string;
}

export interface StalledEvent extends Envelope {
  type: "stalled";
  since: number;
}

export interface DoneEvent extends Envelope {
  type: "done";
  result: Result;
  /** Absent when the end was learnt from the task's status, as are the next two. */
  usage?: Record<string, unknown>;
  latencyMs?: number;
  textLength?: number;
}

export interface ErrorEvent extends Envelope {
  type: "error";
  code: string;
  message: string;
  refunded: boolean;
}

export interface CancelledEvent extends Envelope {
  type: "cancelled";
  refunded: boolean;
}

/** Made by the client: the stream could not be had, and the status was asked instead. */
export interface StatusEvent {
  type: "status";
  taskId: string;
  status: TaskStatus;
}

export type Event =
  | QueuedEvent
  | StartEvent
  | TokenBatchEvent
  | WaitEvent
  | StepResultEvent
  | ResyncEvent
  | StalledEvent
  | DoneEvent
  | ErrorEvent
  | CancelledEvent
  | StatusEvent;

export interface Outcome {
  taskId: string;
  state: "done" | "failed" | "cancelled";
  /** The text that was shown last; empty for a task that streams none. */
  text: string;
  /** Null unless `done`. */
  result: Result | null;
  /** Null unless `failed`. */
  error: { code: string; message: string } | null;
  refunded: boolean;
}

export interface TaskStatus {
  ok: true;
  taskId: string;
  serviceId: string;
  action: Action;
  state: State;
  step: number;
  attempt: number;
  queueId: QueueId;
  position: number | null;
  etaSeconds: number | null;
  isFree: boolean;
  result?: Result;
  error?: { code: string; message: string };
  refunded: boolean;
  streamUrl: string;
  createdAt: number;
  finishedAt: number | null;
}

/** A promise of the outcome, and the events one by one. Leaving the loop stops following. */
export interface Following extends PromiseLike<Outcome>, AsyncIterable<Event> {
  /** The text so far. */
  readonly text: string;
  catch<T = never>(onRejected?: ((reason: unknown) => T | PromiseLike<T>) | null): Promise<Outcome | T>;
  finally(onFinally?: (() => void) | null): Promise<Outcome>;
}

export interface Task {
  readonly taskId: string;
  follow(options?: FollowOptions): Following;
  status(options?: CallOptions): Promise<TaskStatus>;
  cancel(options?: CallOptions): Promise<Cancellation>;
}

/** A task as `submit` returns it. */
export interface AcceptedTask extends Task {
  readonly serviceId: string;
  readonly queueId: QueueId;
  /** True when the balance was too low: it takes the free lane and costs nothing. */
  readonly isFree: boolean;
  /** True when text will stream at some step. */
  readonly stream: boolean;
  readonly streamUrl: string;
  readonly statusUrl: string;
  /** True when the task was there before. */
  readonly replay: boolean;
}

export interface Cancellation {
  ok: true;
  taskId: string;
  /** `cancelled`, or the end that the task had come to before. */
  state: "done" | "failed" | "cancelled";
}

export interface Client {
  submit(action: Action, input: Input, options?: SubmitOptions): Promise<AcceptedTask>;
  /** Follows a task, given as itself, by its id, or by the address of its stream. */
  follow(target: string | { taskId?: string; streamUrl?: string }, options?: FollowOptions): Following;
  /** A task that was started before, by its id or by what is known of it. */
  task(known: string | { taskId: string; streamUrl?: string }): Task;
  status(taskId: string, options?: CallOptions): Promise<TaskStatus>;
  cancel(taskId: string, options?: CallOptions): Promise<Cancellation>;
  /** Reads an address of `actions`, such as `/quota`, `/resume` or `/services/{serviceId}`. */
  get<T = Record<string, unknown>>(path: string, options?: CallOptions): Promise<T>;
}

export function createClient(options: ClientOptions): Client;

/** A refusal by Sluice, or a call that got no answer (`status` 0, `code` `network`). */
export class SluiceError extends Error {
  constructor(code: string, message: string, about?: Partial<SluiceErrorFields> & { cause?: unknown });
  readonly name: "SluiceError";
  /** A stable name, such as `queue_full`: see the table of refusals in docs/api.md. */
  readonly code: string;
  readonly status: number;
  /** Seconds after which another try may succeed; null when it would not, or nobody knows. */
  readonly retryAfter: number | null;
  /** The whole answer. */
  readonly details: Record<string, unknown>;
}

interface SluiceErrorFields {
  status: number;
  retryAfter: number | null;
  details: Record<string, unknown>;
}

export interface Frame {
  id: string;
  type: string;
  data: string;
  /** False when the frame has no id of its own: `id` is then that of the one before. */
  isNumbered: boolean;
}

/** For whoever reads the stream by other means: bytes in, frames out. */
export class EventStreamParser {
  lastEventId: string;
  retryMs: number | null;
  push(bytes: Uint8Array): Frame[];
}

/** For whoever reads the stream by other means: events in, the text to show out. */
export class Transcript {
  text: string;
  step: number;
  attempt: number;
  /** Returns what the event changed. Throws when text before it is missing. */
  apply(event: Event): TextChange | null;
}
