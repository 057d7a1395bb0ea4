import type {
  EvaluationContext, JsonValue, OpenFeatureEventEmitter, Provider, ResolutionDetails,
} from '@openfeature/server-sdk';
import type { PoolConfig, QueryConfig } from 'pg';

/** Who asks: null is nobody. */
export interface Subject {
  userId: string | null;
  isStaff: boolean;
}

/** A pg.Pool or pg.Client, or what answers a question like them. */
export interface Queryable {
  query(config: QueryConfig): Promise<{ rows: any[] }>;
}

/** Without `pool`: the options of a pg.Pool, which the provider makes for itself. */
export interface FflagProviderOptions extends PoolConfig {
  /** The application's own pool; then no other option of a pool. */
  pool?: Queryable;
  /** Looks so often for changes, and emits PROVIDER_CONFIGURATION_CHANGED.  Evaluations do not need it. */
  pollIntervalMillis?: number;
  /** Says who asks, instead of subjectOf(). */
  subject?: (context: EvaluationContext) => Subject | Promise<Subject>;
}

/** The user is the context's targetingKey; is_staff counts only if it is exactly true. */
export function subjectOf(context: EvaluationContext): Subject;

export declare class FflagProvider implements Provider {
  constructor(options?: FflagProviderOptions);
  readonly metadata: { readonly name: 'fflag' };
  readonly runsOn: 'server';
  readonly events: OpenFeatureEventEmitter;
  initialize(): Promise<void>;
  onClose(): Promise<void>;

  /**
   * Until `callback` returns, or its promise is settled, one statement fetches the flags that
   * earlier batches have asked for.
   */
  batch<T>(callback: () => T): T;
  /** Until then, flags are asked on this client: in its transaction. */
  using<T>(client: Queryable, callback: () => T): T;

  resolveBooleanEvaluation(
    flagKey: string, defaultValue: boolean, context: EvaluationContext): Promise<ResolutionDetails<boolean>>;
  resolveStringEvaluation(
    flagKey: string, defaultValue: string, context: EvaluationContext): Promise<ResolutionDetails<string>>;
  resolveNumberEvaluation(
    flagKey: string, defaultValue: number, context: EvaluationContext): Promise<ResolutionDetails<number>>;
  resolveObjectEvaluation<T extends JsonValue>(
    flagKey: string, defaultValue: T, context: EvaluationContext): Promise<ResolutionDetails<T>>;
}
