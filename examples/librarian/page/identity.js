/**
 * Who a tab is to a session, and what it has asked for: the device id, the command ids and the open commands.
 *
 * It knows a `Storage` and nothing else: not when commands are sent, nor what they mean.
 */

/**
 * A tab's device id, the ids that it counts upwards, and the commands that have no result yet.
 *
 * It lives in a `Storage` (sessionStorage: one for each tab, and it survives a reload), so that a command typed just
 * before a reload is repeated under its own id and runs once. No record and no token is ever stored.
 */
export class Identity {
  /** @type {Map<number, {id: number, op: string, run?: string, data: object, sends: number}>} */
  open = new Map();

  /**
   * @param {string} key the entry's name; two clients in one tab need two
   * @param {Storage | null} storage null keeps it in memory
   * @param {() => string} newDevice gives 128 random bits as 32 hex digits
   */
  constructor(key, storage, newDevice) {
    this.key = key;
    this.storage = storage;
    this.newDevice = newDevice;
    const stored = storage === null ? null : JSON.parse(storage.getItem(key) ?? "null");
    this.device = stored?.device ?? newDevice();
    this.last = stored?.last ?? 0;
    for (const command of stored?.open ?? []) this.open.set(command.id, command);
    this.save();
  }

  save() {
    const open = [...this.open.values()].map(({ id, op, run, data, sends }) => ({ id, op, run, data, sends }));
    this.storage?.setItem(this.key, JSON.stringify({ device: this.device, last: this.last, open }));
  }

  /** Give a command its id: one more than any that this device has used. */
  add(command) {
    this.last += 1;
    Object.assign(command, { id: this.last, sends: 0 });
    this.open.set(command.id, command);
    this.save();
    return command;
  }

  /** The server's `last_id`: ids go on above it, should it know more than we stored. */
  atLeast(last) {
    this.last = Math.max(this.last, last);
    this.save();
  }

  /** Forget an answered command, and return it. */
  settle(id) {
    const command = this.open.get(id);
    this.open.delete(id);
    this.save();
    return command;
  }

  /** Become another device, with nothing open and ids from 1. */
  renew() {
    this.device = this.newDevice();
    this.last = 0;
    this.open.clear();
    this.save();
  }
}
